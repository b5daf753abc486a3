"""Install, upgrade, roll back and remove: the real helm against an API server of our own."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.ship.helm import CHART, TOOLS, HelmError, helm
from tests.charts.api_server import ApiServer, api_server, kubeconfig

NAMESPACE = "search"
KEYS = {"keys": base64.b64encode(b"secret").decode()}
Run = Callable[..., str]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as found:
        found.add("v1", "namespaces", "", NAMESPACE)
        yield found


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Run:
    """helm in that cluster; the Secret with keys is there."""
    server.add("v1", "secrets", NAMESPACE, "clipserve-keys", data=KEYS)
    config = tmp_path / "kubeconfig"
    config.write_text(kubeconfig(server))
    given = {"KUBECONFIG": str(config), "HELM_CACHE_HOME": str(tmp_path), "HELM_DATA_HOME": str(tmp_path)}
    return lambda *words: helm(*words, "--namespace", NAMESPACE, environment=given)


def install(run: Run, *words: str) -> str:
    return run("install", "r", str(CHART), "--disable-openapi-validation", *words)


def upgrade(run: Run, *words: str) -> str:
    return run("upgrade", "r", str(CHART), "--disable-openapi-validation", *words)


def gateway_of(server: ApiServer) -> dict[str, Any]:
    spec: dict[str, Any] = server.get("deployments", "r-clipserve-gateway")["spec"]
    return spec


def test_install_says_what_to_do_next(server: ApiServer, cluster: Run) -> None:
    said = install(cluster)
    assert "kubectl --namespace search port-forward service/r-clipserve 8000:80" in said
    assert "Each gateway counts the limits of keys by itself (gateway.redis)" in said
    assert server.names("deployments") == ["r-clipserve-encoder-demo", "r-clipserve-gateway"]
    assert server.names("statefulsets") == ["r-clipserve-index"]
    assert server.names("pods") == []  # the test runs when it is asked for


def test_upgrade_and_back(server: ApiServer, cluster: Run) -> None:
    install(cluster)
    before = gateway_of(server)
    upgrade(cluster, "--set", "gateway.replicas=5", "--set", "images.tag=v2")
    assert gateway_of(server)["replicas"] == 5
    assert gateway_of(server)["template"]["spec"]["containers"][0]["image"] == "clipserve/gateway:v2"
    cluster("rollback", "r", "1")
    assert gateway_of(server) == before


def test_a_model_comes_and_goes(server: ApiServer, cluster: Run) -> None:
    install(cluster)
    more = 'models=[{"name":"demo","prefix":"clip","source":{"claim":"a"}},{"name":"large","source":{"claim":"b"}}]'
    upgrade(cluster, "--set-json", more)
    assert "r-clipserve-encoder-large" in server.names("deployments")
    assert '"large"' in server.get("configmaps", "r-clipserve-models")["data"]["models.json"]
    upgrade(cluster, "--reset-values")
    assert server.names("deployments") == ["r-clipserve-encoder-demo", "r-clipserve-gateway"]


def test_what_a_server_never_changes_stays(server: ApiServer, cluster: Run) -> None:
    """Selectors and claims are the same whatever the version and the values are."""
    install(cluster)
    upgrade(cluster, "--set", "images.tag=v2", "--set", "index.resources.limits.memory=9Gi", "--set", "podLabels.a=b")
    assert server.get("statefulsets", "r-clipserve-index")["spec"]["template"]["metadata"]["labels"]["a"] == "b"


def test_a_larger_claim_is_refused_and_what_runs_is_kept(server: ApiServer, cluster: Run) -> None:
    """A StatefulSet's claims can't be changed by an upgrade: docs/deploying.md says how to grow one."""
    install(cluster)
    with pytest.raises(HelmError, match="updates are forbidden"):
        upgrade(cluster, "--set", "index.persistence.size=500Gi")
    claim = server.get("statefulsets", "r-clipserve-index")["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"


def test_a_disk_grows_as_the_page_says(server: ApiServer, cluster: Run, tmp_path: Path) -> None:
    install(cluster)
    kubectl = [str(TOOLS / "kubectl"), "--kubeconfig", str(tmp_path / "kubeconfig"), "--cache-dir", str(tmp_path)]
    words = ("--namespace", NAMESPACE, "delete", "statefulset", "r-clipserve-index", "--cascade=orphan")
    subprocess.run([*kubectl, *words], check=True, capture_output=True)
    upgrade(cluster, "--reset-then-reuse-values", "--set", "index.persistence.size=100Gi")
    claim = server.get("statefulsets", "r-clipserve-index")["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == "100Gi"


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({}, "gateway.keys: there is no Secret clipserve-keys in namespace search: kubectl --namespace search create"),
        ({"clipserve-keys": {"other": KEYS["keys"]}}, "gateway.keys: the Secret clipserve-keys has no key keys"),
    ],
)
def test_a_missing_secret_is_told_before_anything_changes(
    server: ApiServer, cluster: Run, secrets: dict[str, dict[str, str]], said: str
) -> None:
    server.objects = {key: each for key, each in server.objects.items() if key[2] != "secrets"}
    for name, data in secrets.items():
        server.add("v1", "secrets", NAMESPACE, name, data=data)
    with pytest.raises(HelmError, match=said):
        install(cluster)
    assert server.names("deployments") == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gateway.secrets": ["store"]}, "gateway.secrets: there is no Secret store"),
        (
            {"models": [{"name": "a", "source": {"copy": {"image": "r:1", "command": ["a"], "secret": "store"}}}]},
            "models: source.copy: there is no Secret store",
        ),
        (
            {"snapshots": {"enabled": True, "upload": {"image": "rclone:1", "command": ["a"], "secret": "store"}}},
            "snapshots.upload: there is no Secret store",
        ),
        (
            {"metrics.serviceMonitor": {"enabled": True, "key": {"secret": "store"}}},
            "metrics.serviceMonitor.key: there is no Secret store",
        ),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_every_secret_is_looked_for(server: ApiServer, cluster: Run, values: dict[str, Any], said: str) -> None:
    given = [word for name, value in values.items() for word in ("--set-json", f"{name}={json.dumps(value)}")]
    with pytest.raises(HelmError, match=said):
        install(cluster, *given)
    assert server.names("deployments") == []


def test_a_claim_that_is_missing_is_told(server: ApiServer, cluster: Run) -> None:
    """It may come later: pods wait for it."""
    assert "There is no claim clipserve-models in the namespace search yet" in install(cluster)
    server.add("v1", "persistentvolumeclaims", NAMESPACE, "clipserve-models")
    assert "There is no claim" not in upgrade(cluster)


def test_values_of_an_older_chart_are_refused_and_what_runs_is_kept(server: ApiServer, cluster: Run) -> None:
    install(cluster)
    with pytest.raises(HelmError, match="replicaCount"):
        upgrade(cluster, "--set", "replicaCount=3")
    assert gateway_of(server)["replicas"] == 2


def test_defaults_of_an_older_chart_are_named(server: ApiServer, cluster: Run, tmp_path: Path) -> None:
    """`--reuse-values` keeps the older chart's defaults, which lack what is new."""
    older = tmp_path / "older"
    shutil.copytree(CHART, older)
    (older / "values.schema.json").unlink()
    values = yaml.safe_load((older / "values.yaml").read_text())
    del values["topologySpread"]["key"]
    (older / "values.yaml").write_text(yaml.safe_dump(values))
    cluster("install", "r", str(older), "--disable-openapi-validation", "--set", "gateway.replicas=3")
    before = gateway_of(server)
    with pytest.raises(HelmError, match=r"topologySpread.*missing property 'key'"):
        upgrade(cluster, "--reuse-values")
    assert gateway_of(server) == before
    upgrade(cluster, "--reset-then-reuse-values")
    assert gateway_of(server)["replicas"] == 3


def test_an_upgrade_that_fails_can_be_rolled_back(server: ApiServer, cluster: Run) -> None:
    install(cluster)
    path = "/apis/apps/v1/namespaces/search/statefulsets/r-clipserve-index"
    server.refused.add(path)
    with pytest.raises(HelmError, match="is refused"):
        upgrade(cluster, "--set", "images.tag=v2")
    server.refused.clear()
    cluster("rollback", "r", "1")
    image = server.get("statefulsets", "r-clipserve-index")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "clipserve/index:0.1.0"


def test_removal_keeps_the_pictures(server: ApiServer, cluster: Run) -> None:
    install(cluster, "--set", "gateway.replicas=1", "--set", "gateway.persistence.enabled=true")
    cluster("uninstall", "r")
    assert server.names("deployments") == []
    assert server.names("persistentvolumeclaims") == ["r-clipserve-gateway"]
