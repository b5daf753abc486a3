"""What values do, and how wrong ones are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ship.helm import CHART, HelmError, Manifest, helm, of_kind, pods, rendered, scenario
from gateway.models.rows import parse_rows
from index_service.record.data_dir import DataDir
from scripts.settings_table import rows

CLAIM = {"claim": "archives"}
WORKLOADS = ("CronJob", "Deployment", "StatefulSet")


def models(*given: dict[str, Any]) -> list[Manifest]:
    return rendered(values={"models": [{"source": CLAIM, **each} for each in given]})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"replica": 3}}, "replica"),
        ({"gateway": {"replicas": "three"}}, "replicas"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"models": []}, "models"),
        ({"models": [{"name": "a"}]}, "source"),
        ({"models": [{"name": "a", "source": {}}]}, "source"),
        ({"models": [{"name": "a", "source": {"claim": "c", "baked": True}}]}, "source"),
        ({"models": [{"name": "not a name", "source": CLAIM}]}, "name"),
        ({"models": [{"name": "a", "source": CLAIM, "gpu": 1}]}, "gpu"),
        ({"index": {"persistence": {"size": "much"}}}, "size"),
        ({"images": {"tag": "a b"}}, "tag"),
        ({"gateway": {"env": {"lower-case": "x"}}}, "lower-case"),
        ({"models": [{"name": "a", "source": CLAIM}, {"name": "a", "source": CLAIM}]}, 'two models are named "a"'),
        (
            {"models": [{"name": f"same-14-letters-{n}", "source": CLAIM} for n in (1, 2)]},
            '"same-14-letters-2" has the same first 14 letters',
        ),
        ({"models": [{"name": n, "source": CLAIM, "default": True} for n in "ab"]}, "a, b all say default: true"),
        (
            {"models": [{"name": "a", "source": CLAIM, "autoscaling": {"kind": "keda"}}]},
            '"a" scales by KEDA: set autoscaling.prometheus',
        ),
        (
            {"models": [{"name": "a", "source": CLAIM, "autoscaling": {"minReplicas": 9}}]},
            'autoscaling.minReplicas of "a" is above',
        ),
        (
            {"models": [{"name": "a", "source": CLAIM, "autoscaling": {"kind": "scaler", "startSeconds": 0}}]},
            "startSeconds",
        ),
        ({"scaler": {"key": {"secret": "Not A Secret"}}}, "secret"),
        ({"gateway": {"persistence": {"enabled": True}}}, "set gateway.replicas to 1"),
        (
            {"gateway": {"env": {"CLIPSERVE_GATEWAY_KEYS_FILE": "/data/keys.db"}}},
            "set gateway.database, which gateways",
        ),
        ({"gateway": {"env": {"CLIPSERVE_GATEWAY_PICTURES": "copy"}}}, "set gateway.pictures.claim, which gateways"),
        (
            {"gateway": {"database": {"secret": "a"}, "env": {"CLIPSERVE_GATEWAY_KEYS_FILE": "/data/keys.db"}}},
            "exclude each other",
        ),
        (
            {"gateway": {"env": {"CLIPSERVE_GATEWAY_DATABASE_URL": "postgresql://a:b@c/d"}}},
            "name a Secret in gateway.database",
        ),
        ({"gateway": {"env": {"CLIPSERVE_GATEWAY_PICTURES_DIR": "/x"}}}, "name a claim in gateway.pictures.claim"),
        ({"gateway": {"database": {"url": "postgresql://a:b@c/d"}}}, "url"),
        ({"gateway": {"pictures": {"url": "bucket/pictures"}}}, "url"),
        ({"gateway": {"pictures": {"url": "s3://b", "claim": "c"}}}, "claim and url exclude each other"),
        (
            {"gateway": {"pictures": {"url": "s3://b"}, "env": {"CLIPSERVE_GATEWAY_PICTURES": "copy"}}},
            "object storage keeps thumbnails: leave out copy",
        ),
        ({"gateway": {"env": {"CLIPSERVE_GATEWAY_PICTURES_URL": "s3://b"}}}, "say it in gateway.pictures.url"),
        ({"gateway": {"secrets": ["A B"]}}, "secrets"),
        ({"gateway": {"env": {"CLIPSERVE_GATEWAY_API_KEYS": "x"}}}, "name a Secret in gateway.keys"),
        ({"gateway": {"env": {"CLIPSERVE_GATEWAY_PORT": 9000}}}, "port 8000"),
        ({"index": {"env": {"CLIPSERVE_INDEX_PORT": 9000}}}, "index.env.CLIPSERVE_INDEX_PORT"),
        ({"modelDefaults": {"env": {"CLIPSERVE_MODEL_STORE": "/x"}}}, 'env of "demo".CLIPSERVE_MODEL_STORE'),
        ({"tracing": {"endpoint": "http://collector:0"}}, "there is no port 0"),
        ({"gateway": {"secrets": {"name": "a"}}}, "secrets"),
        (
            {"models": [{"name": n, "prefix": "clip", "source": CLAIM, "autoscaling": {"kind": "hpa"}} for n in "ab"]},
            "another model's endpoints have these names, too",
        ),
        (
            {"models": [{"name": "a", "prefix": "_a", "source": CLAIM, "autoscaling": {"kind": "hpa"}}]},
            'the prefix of "a" is no label',
        ),
        ({"scaler": {"key": {"secret": "a..b"}}}, "secret"),
        ({"scaler": {"resources": {"limits": {"memory": "lots"}}}}, "memory"),
        (
            {"gateway": {"env": {"CLIPSERVE_GATEWAY_JOBS": True}}},
            "several gateways don't share it: set gateway.database, or gateway.replicas",
        ),
        (
            {"gateway": {"env": {"CLIPSERVE_GATEWAY_INDEX_URL": "x"}}},
            "gateway.env.CLIPSERVE_GATEWAY_INDEX_URL is set by",
        ),
        (
            {"index": {"env": {"CLIPSERVE_INDEX_ALLOWED_HOSTS": "x"}}},
            "index.env.CLIPSERVE_INDEX_ALLOWED_HOSTS is set by",
        ),
        (
            {"modelDefaults": {"env": {"CLIPSERVE_HANDLER_INDEX_URL": "x"}}},
            'models: env of "demo".CLIPSERVE_HANDLER_INDEX_URL is set by',
        ),
        ({"index": {"replicas": 2}}, "set index.store to milvus for several"),
        ({"index": {"store": "milvus"}}, "set index.milvus.uri"),
        ({"index": {"store": "disk"}}, "store"),
        ({"index": {"milvus": {"uri": "milvus:19530"}}}, "uri"),
        ({"index": {"milvus": {"uri": "http://milvus:99999"}}}, "there is no port 99999"),
        ({"index": {"milvus": {"token": {"secret": "A B"}}}}, "secret"),
        (
            {
                "index": {
                    "store": "milvus",
                    "replicas": 2,
                    "milvus": {"uri": "http://milvus:19530", "consistency": "session"},
                }
            },
            "set strong",
        ),
        (
            {
                "index": {
                    "store": "milvus",
                    "replicas": 2,
                    "milvus": {"uri": "http://milvus:19530"},
                    "env": {"CLIPSERVE_INDEX_MILVUS_WATERMARK_DELAY_S": 0},
                }
            },
            "is for one replica",
        ),
        ({"index": {"env": {"CLIPSERVE_INDEX_STORE": "milvus"}}}, "say it in index.store"),
        ({"gateway": {"env": {"CLIPSERVE_GATEWAY_LLM_API_KEY": "sk"}}}, "name a Secret in gateway.secrets"),
        ({"gateway": {"env": {"CLIPSERVE_GATEWAY_ASSISTANT_API_KEY": "sk"}}}, "name a Secret in gateway.secrets"),
        ({"gateway": {"env": {"CLIPSERVE_GATEWAY_DATA_DIR": "/x"}}}, "all else is read-only"),
        (
            {
                "models": [{"name": "a", "source": {"claim": "c"}, "autoscaling": {"kind": "scaler"}}],
                "scaler": {"env": {"CLIPSERVE_SCALER_MOST": 9}},
            },
            "MOST is set by the chart itself",
        ),
        (
            {
                "index": {"store": "milvus", "milvus": {"uri": "http://milvus:19530"}},
                "snapshots": {"restore": {"image": "rclone:1", "command": ["rclone"]}},
            },
            "restore into Milvus by POST",
        ),
        ({"tracing": {"endpoint": "collector:4318"}}, "endpoint"),
        ({"tracing": {"env": {"CLIPSERVE_X": "1"}}}, "CLIPSERVE_X"),
        ({"tracing": {"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}}}, "say it in tracing.endpoint"),
        ({"tracing": {"env": {"OTEL_EXPORTER_OTLP_HEADERS": "a=b"}}}, "name a Secret in tracing.headers"),
        (
            {
                "tracing": {"endpoint": "http://c:1", "env": {"OTEL_SERVICE_NAME": "a"}},
                "gateway": {"env": {"OTEL_SERVICE_NAME": "b"}},
            },
            "gateway.env.OTEL_SERVICE_NAME is set",
        ),
        ({"metrics": {"dashboards": {"enabled": "yes"}}}, "enabled"),
        ({"nameOverride": "My App"}, "nameOverride"),
        ({"nameOverride": "0", "fullnameOverride": "x"}, "fullnameOverride"),
        ({"gateway": {"autoscaling": {"minReplicas": 9}}}, "gateway.autoscaling.minReplicas is above"),
        ({"modelDefaults": {"resources": {"requests": {"cpu": "lots"}}}}, "cpu"),
        ({"index": {"resources": {"limits": {"memory": "8GB"}}}}, "memory"),
        ({"podLabels": {"app.kubernetes.io/name": "other"}}, "app.kubernetes.io/name"),
        ({"podLabels": {"a": "not a value"}}, "podLabels"),
        ({"metrics": {"dashboards": {"labels": {"bad key": "x"}}}}, "bad key"),
        ({"images": {"gateway": "a b"}}, "images/gateway"),
        ({"gateway": {"replicas": 10**11}}, "replicas"),
        ({"ingress": {"enabled": True, "hosts": ["a..b"]}}, "hosts"),
        ({"gateway": {"keys": {"secret": "a..b"}}}, "secret"),
        ({"snapshots": {"upload": {"secret": "A B"}}}, "secret"),
        ({"tracing": {"endpoint": "http://collector:99999"}}, "there is no port 99999"),
        ({"ingress": {"enabled": True}}, "ingress.hosts is empty"),
        ({"route": {"enabled": True}}, "route.parents is empty"),
        ({"snapshots": {"enabled": True}}, "snapshots.upload needs an image and a command"),
        ({"snapshots": {"schedule": "daily"}}, "schedule"),
        ({"snapshots": {"schedule": "a b c d e"}}, "schedule"),
        ({"snapshots": {"restore": {"image": "rclone:1"}}}, "snapshots.restore needs an image and a command"),
    ],
    ids=str,
)
def test_wrong_values_are_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmError) as refused:
        rendered(values=values)
    assert named in str(refused.value)


def test_a_release_that_no_service_could_be_named_after() -> None:
    with pytest.raises(HelmError, match="begins with a digit"):
        helm("template", "7up", str(CHART))


def test_a_release_with_a_dot_that_no_service_could_be_named_after() -> None:
    with pytest.raises(HelmError, match="has a dot"):
        helm("template", "search.v2", str(CHART))


def test_a_release_that_is_too_long_for_a_scaler() -> None:
    """Kubernetes names a StatefulSet's pods by a label with ten letters more, which has 63 at most."""
    words = ("template", "r" * 50, str(CHART), "--set-json", f"models={json.dumps(SCALER_MODELS)}")
    assert "scaler-demo" in helm(*words, "--set", "nameOverride=c")
    with pytest.raises(HelmError, match="longer than the 52 letters"):
        helm(*words, "--set-json", 'models[0].name="a-model-with-14"')


def test_an_image_can_not_be_mounted_by_an_older_kubernetes() -> None:
    given = [{"name": "a", "source": {"image": {"reference": "r/m:1", "mode": "volume"}}}]
    with pytest.raises(HelmError, match=r'"a" mounts an image .* and this is v1.32.0: say mode: copy'):
        rendered(version="1.32.0", values={"models": given})


def test_every_default_is_required() -> None:
    """So that values of an older chart, which lack a new one, are refused by its name."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert list(not_required("", schema, values)) == []


def not_required(path: str, schema: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """Paths of defaults; what is asked for of a node (`resources`) may be taken out."""
    for name, value in values.items():
        if name not in schema["required"]:
            yield f"{path}/{name}"
        within = schema["properties"][name]
        if isinstance(value, dict) and "properties" in within and name != "resources":
            yield from not_required(f"{path}/{name}", within, value)


def test_the_gateway_reads_the_rows_of_all_models() -> None:
    manifests = models({"name": "demo", "prefix": "clip"}, {"name": "Vit-B_32.v2", "default": True})
    (config,) = of_kind(manifests, "ConfigMap")
    default, other = parse_rows(config["data"]["models.json"].encode())
    assert (default.name, default.text) == ("Vit-B_32.v2", "Vit-B_32.v2_text")
    assert (other.name, other.text) == ("demo", "clip_text")
    services = {each["metadata"]["name"] for each in of_kind(manifests, "Service")}
    assert {url.split("//")[1].split(":")[0] for url in (default.torchserve_url, other.management_url)} <= services


def test_each_encoder_lets_itself_be_called_by_its_service() -> None:
    manifests = models({"name": "a"}, {"name": "b"})
    for deployment in of_kind(manifests, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        given = {each["name"]: each["value"] for each in container["env"]}
        if "encoder" in deployment["metadata"]["name"]:
            assert given["CLIPSERVE_MANAGEMENT_HOSTS"] == deployment["metadata"]["name"]
            assert given["CLIPSERVE_HANDLER_INDEX_URL"] == "http://r-clipserve-index:8090"


def test_all_settings_that_pods_are_given_exist() -> None:
    known = {name for name, *_ in rows()}
    for _, spec in pods(rendered()):
        given = {each["name"] for container in spec["containers"] for each in container.get("env", [])}
        assert given <= known


def test_numbers_keep_their_digits() -> None:
    """Helm reads YAML's numbers as floats, and 5e+06 is no whole number to a setting."""
    values = {"index": {"env": {"CLIPSERVE_INDEX_A": 5_000_000, "CLIPSERVE_INDEX_B": 0.25, "CLIPSERVE_INDEX_C": True}}}
    (index,) = of_kind(rendered(values=values), "StatefulSet")
    given = {each["name"]: each["value"] for each in index["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert [given[f"CLIPSERVE_INDEX_{name}"] for name in "ABC"] == ["5000000", "0.25", "true"]


@given(st.dictionaries(st.from_regex("CLIPSERVE_INDEX_[A-Z]{4}", fullmatch=True), st.integers(0, 2**53), max_size=5))
@settings(max_examples=10)
def test_a_container_is_given_each_name_once(env: dict[str, int]) -> None:
    """A server that applies manifests refuses two entries of one name."""
    traced = {"endpoint": "http://collector:4318", "env": {"OTEL_SERVICE_NAME": "x"}}
    for _, spec in pods(rendered(values={"index.env": env, "tracing": traced})):
        for container in spec["containers"]:
            names = [each["name"] for each in container.get("env", [])]
            assert len(names) == len(set(names))


def test_a_model_takes_the_defaults_it_does_not_say() -> None:
    (encoder,) = of_kind(models({"name": "a", "resources": {"limits": {"memory": "9Gi"}}}), "Deployment", "encoder-a")
    resources = encoder["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources == {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "9Gi"}}


def test_a_gpu_is_a_limit() -> None:
    (encoder,) = of_kind(models({"name": "a", "gpus": 2}), "Deployment", "encoder-a")
    assert encoder["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert encoder["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


def test_a_new_version_of_the_chart_alone_restarts_nothing() -> None:
    for each in rendered():
        labels = each.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)


def test_scaled_deployments_name_no_replicas() -> None:
    """An upgrade would else undo what the autoscaler did."""
    scaled = {"kind": "hpa"}
    manifests = rendered(
        values={"models": [{"name": "a", "source": CLAIM, "autoscaling": scaled}], "gateway.autoscaling.enabled": True}
    )
    assert len(of_kind(manifests, "HorizontalPodAutoscaler")) == 2
    assert [each for each in of_kind(manifests, "Deployment") if "replicas" in each["spec"]] == []


def labels_of_all_pods(manifests: list[Manifest]) -> Set[tuple[str, str]]:
    """That each of them has."""
    made = [each["spec"].get("jobTemplate", each)["spec"] for each in manifests if each["kind"] in WORKLOADS]
    found = [spec["template"]["metadata"]["labels"].items() for spec in made]
    found += [each["metadata"]["labels"].items() for each in of_kind(manifests, "Pod")]
    return set.intersection(*map(set, found))


def test_only_the_gateway_is_reached_from_outside() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(rendered(), "NetworkPolicy")}
    everyone, every_kind = policies.pop("r-clipserve"), rendered(*scenario(CHART / "ci" / "snapshots-values.yaml"))
    assert set(policies) == {"r-clipserve-gateway", "r-clipserve-encoder", "r-clipserve-index"}
    assert (everyone["policyTypes"], everyone.get("ingress", [])) == (["Ingress"], [])
    assert everyone["podSelector"]["matchLabels"].items() <= labels_of_all_pods(every_kind)
    open_to_all = [name for name, spec in policies.items() if any("from" not in rule for rule in spec["ingress"])]
    assert open_to_all == ["r-clipserve-gateway"]
    (service,) = [each for each in of_kind(rendered(), "Service") if each["metadata"]["name"] == "r-clipserve"]
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "gateway"


def test_who_watches_reaches_every_part_of_a_locked_network() -> None:
    manifests = rendered(*scenario(CHART / "ci" / "locked-network-values.yaml"))
    watching = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    for policy in of_kind(manifests, "NetworkPolicy"):
        lets_in = policy["spec"].get("ingress", [])
        name = policy["metadata"]["name"]
        assert name == "r-clipserve" or any(watching in rule["from"] for rule in lets_in), name


def test_keys_are_files_of_a_secret() -> None:
    (gateway,) = of_kind(rendered(), "Deployment", "gateway")
    assert "clipserve-keys" not in json.dumps(gateway["spec"]["template"]["spec"]["containers"])
    volumes = {each["name"]: each for each in gateway["spec"]["template"]["spec"]["volumes"]}
    (secret,) = (source["secret"] for source in volumes["secrets"]["projected"]["sources"])
    assert secret == {"name": "clipserve-keys", "items": [{"key": "keys", "path": "clipserve_gateway_api_keys"}]}


@pytest.mark.parametrize(
    ("values", "jobs"),
    [
        ({}, "false"),
        ({"gateway.replicas": 1}, None),
        ({"gateway.replicas": 1, "gateway.autoscaling.enabled": True}, "false"),
        ({"gateway.replicas": 1, "gateway.persistence.enabled": True}, None),
        ({"gateway.database.secret": "postgres-url"}, None),
    ],
    ids=str,
)
def test_several_gateways_without_a_database_refuse_jobs(values: dict[str, Any], jobs: str | None) -> None:
    """Each would know its own alone."""
    (gateway,) = of_kind(rendered(values=values), "Deployment", "gateway")
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["value"] for each in container["env"]}.get("CLIPSERVE_GATEWAY_JOBS") == jobs


def test_gateways_that_share_find_the_database_and_the_pictures() -> None:
    (gateway,) = of_kind(rendered(*scenario(CHART / "ci" / "shared-gateways-values.yaml")), "Deployment", "gateway")
    pod = gateway["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    secrets = [source["secret"] for source in volumes["secrets"]["projected"]["sources"]]
    assert {"name": "postgres-url", "items": [{"key": "uri", "path": "clipserve_gateway_database_url"}]} in secrets
    assert volumes["pictures"]["persistentVolumeClaim"] == {"claimName": "pictures"}
    (container,) = pod["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    (mount,) = (each["mountPath"] for each in container["volumeMounts"] if each["name"] == "pictures")
    assert told["CLIPSERVE_GATEWAY_PICTURES_DIR"] == mount
    assert (told["CLIPSERVE_GATEWAY_PICTURES"], told["CLIPSERVE_GATEWAY_JOBS"]) == ("copy", "true")
    assert gateway["spec"]["strategy"]["type"] == "RollingUpdate"


def test_thumbnails_in_object_storage() -> None:
    (gateway,) = of_kind(rendered(*scenario(CHART / "ci" / "object-storage-values.yaml")), "Deployment", "-gateway")
    assert environment(gateway)["CLIPSERVE_GATEWAY_PICTURES_URL"] == "s3://clipserve/pictures"
    assert "CLIPSERVE_GATEWAY_PICTURES" not in environment(gateway)
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "pictures-store"}}]


def test_an_autoscaler_counts_the_endpoints_of_its_model() -> None:
    """Those that the gateway counts by the label `endpoint`; the adapter's rule is in docs/deploying.md."""
    scaled = {"kind": "hpa", "itemsPerReplica": 2_000_000}
    manifests = models({"name": "demo", "prefix": "clip", "autoscaling": scaled}, {"name": "other"})
    (row, _) = parse_rows(of_kind(manifests, "ConfigMap")[0]["data"]["models.json"].encode())
    (metric,) = of_kind(manifests, "HorizontalPodAutoscaler")[0]["spec"]["metrics"]
    (term,) = metric["external"]["metric"]["selector"]["matchExpressions"]
    assert (term["key"], term["operator"], set(term["values"])) == ("endpoint", "In", set(row.all_endpoints()))
    assert metric["external"]["target"]["averageValue"] == "2000000"
    rule = (CHART.parents[2] / "docs" / "deploying.md").read_text(encoding="utf-8").partition("externalRules:")[2]
    assert f"name: {{as: {metric['external']['metric']['name']}}}" in rule


def test_snapshots_are_downloaded_where_the_disk_is_new() -> None:
    values = {"snapshots": {"restore": {"image": "rclone:1", "command": ["rclone", "copy", "store:", "/data/restore"]}}}
    (index,) = of_kind(rendered(values=values), "StatefulSet")
    (init,) = index["spec"]["template"]["spec"]["initContainers"]
    assert f"test -e /data/{DataDir.DATABASE} || exec" in init["command"][2]
    assert init["args"] == values["snapshots"]["restore"]["command"]
    assert {"name": "data", "mountPath": "/data"} in init["volumeMounts"]


def test_index_services_over_milvus_have_no_disk() -> None:
    manifests = rendered(*scenario(CHART / "ci" / "milvus-values.yaml"))
    assert of_kind(manifests, "StatefulSet") == []
    (index,) = of_kind(manifests, "Deployment", "-index")
    pod = index["spec"]["template"]["spec"]
    assert index["spec"]["replicas"] == 3
    assert [each for each in pod["volumes"] if "persistentVolumeClaim" in each] == []
    given = environment(index)
    assert set(given) <= {name for name, *_ in rows()}
    assert given["CLIPSERVE_INDEX_STORE"] == "milvus"
    assert given["CLIPSERVE_INDEX_MILVUS_CONSISTENCY"] == "strong"
    assert "milvus-token" not in json.dumps(pod["containers"])
    (secret,) = [each["secret"] for each in pod["volumes"] if "secret" in each]
    assert secret["items"] == [{"key": "token", "path": "clipserve_index_milvus_token"}]
    (policy,) = of_kind(manifests, "NetworkPolicy", "-index")
    assert {"ports": [{"port": 19530, "protocol": "TCP"}]} in policy["spec"]["egress"]
    assert [each["metadata"]["name"] for each in of_kind(manifests, "PodDisruptionBudget", "-index")]


def test_a_snapshot_is_fetched_where_it_was_made() -> None:
    manifests = rendered(*scenario(CHART / "ci" / "milvus-values.yaml"))
    (service,) = of_kind(manifests, "Service", "-index-snapshots")
    (job,) = of_kind(manifests, "CronJob")
    (export,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
    name = service["metadata"]["name"]
    assert f"http://{name}:8090" in export["command"]
    assert service["spec"]["sessionAffinity"] == "ClientIP"
    (index,) = of_kind(manifests, "Deployment", "-index")
    assert name in environment(index)["CLIPSERVE_INDEX_ALLOWED_HOSTS"].split(",")


def test_an_index_service_with_a_disk_may_know_milvus_to_move_there() -> None:
    manifests = rendered(values={"index.milvus": {"uri": "https://milvus.example.org", "token": {"secret": "t"}}})
    (index,) = of_kind(manifests, "StatefulSet", "-index")
    given = environment(index)
    assert given["CLIPSERVE_INDEX_MILVUS_URI"] == "https://milvus.example.org"
    assert "CLIPSERVE_INDEX_STORE" not in given
    assert {"name": "secrets", "mountPath": "/run/secrets", "readOnly": True} in (
        index["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    )


SCALED = {"kind": "scaler", "minReplicas": 0, "maxReplicas": 9, "itemsPerReplica": 8, "startSeconds": 90}
SCALER_MODELS = [
    {"name": "demo", "prefix": "clip", "source": CLAIM, "autoscaling": SCALED},
    {"name": "other", "source": CLAIM},
]


def environment(pod: Manifest) -> dict[str, str]:
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_a_scaler_is_told_of_its_model_and_of_every_gateway() -> None:
    manifests = rendered(values={"models": SCALER_MODELS})
    (scaler,) = of_kind(manifests, "StatefulSet", "scaler-demo")
    given = environment(scaler)
    assert set(given) <= {name for name, *_ in rows()}
    assert given["CLIPSERVE_SCALER_ENDPOINTS"] == "clip_text,clip_image,clip_multimodal"
    bounds = {
        name: given[f"CLIPSERVE_SCALER_{name}"]
        for name in ("MIN_REPLICAS", "MAX_REPLICAS", "ITEMS_PER_REPLICA", "START_S")
    }
    assert bounds == {"MIN_REPLICAS": "0", "MAX_REPLICAS": "9", "ITEMS_PER_REPLICA": "8", "START_S": "90"}
    assert given["CLIPSERVE_SCALER_GATEWAY_URLS"] == "dns+http://r-clipserve-gateways:8000"
    (headless,) = of_kind(manifests, "Service", "-gateways")
    assert headless["spec"]["clusterIP"] == "None"
    assert headless["spec"]["selector"]["app.kubernetes.io/component"] == "gateway"
    assert headless["metadata"]["labels"]["app.kubernetes.io/component"] != "gateway"  # a ServiceMonitor takes one


def test_a_captioner_is_found_by_its_name_and_counted() -> None:
    """Its endpoint is in no row: the gateway asks TorchServe for it."""
    manifests = rendered(*scenario(CHART / "ci" / "captions-values.yaml"))
    (config,) = of_kind(manifests, "ConfigMap", "models")
    (row,) = parse_rows(config["data"]["models.json"].encode())
    assert row.caption_endpoint == "coca-vit-l-14_caption"
    (scaled,) = of_kind(manifests, "ScaledObject")
    (counted,) = re.findall(r'endpoint=~"([^"]+)"', scaled["spec"]["triggers"][0]["metadata"]["query"])
    assert all(re.fullmatch(counted, endpoint) for endpoint in row.all_endpoints())


def test_keda_asks_a_scaler_that_exists_for_each_endpoint() -> None:
    manifests = rendered(values={"models": SCALER_MODELS})
    (scaled,) = of_kind(manifests, "ScaledObject")
    names = {each["metadata"]["name"] for each in of_kind(manifests, "Service")}
    urls = [trigger["metadata"]["url"] for trigger in scaled["spec"]["triggers"]]
    assert {url.split("//")[1].split(".")[0] for url in urls} <= names
    assert [url.rpartition("/")[2] for url in urls] == ["clip_text", "clip_image", "clip_multimodal"]
    assert scaled["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert scaled["spec"]["minReplicaCount"] == 0


def test_a_gateway_knows_of_scalers_and_of_models_that_may_be_away() -> None:
    (gateway,) = of_kind(rendered(values={"models": SCALER_MODELS}), "Deployment", "gateway")
    assert environment(gateway)["CLIPSERVE_GATEWAY_AUTOSCALED"] == "replicas"
    assert environment(gateway)["CLIPSERVE_GATEWAY_SCALER_URLS"] == "http://r-clipserve-scaler-demo:8002"
    kept = [{**SCALER_MODELS[0], "autoscaling": {**SCALED, "minReplicas": 1}}]
    (gateway,) = of_kind(rendered(values={"models": kept}), "Deployment", "gateway")
    assert "CLIPSERVE_GATEWAY_AUTOSCALED" not in environment(gateway)


def test_no_scaler_runs_where_none_is_asked_for() -> None:
    assert [each["metadata"]["name"] for each in rendered() if "scaler" in json.dumps(each)] == []


def test_only_gateways_and_keda_reach_a_scaler() -> None:
    policies = of_kind(rendered(values={"models": SCALER_MODELS}), "NetworkPolicy", "scaler")
    ((rule,),) = [each["spec"]["ingress"] for each in policies]
    pods_of, namespaces = rule["from"]
    assert pods_of["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    assert namespaces == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}


@pytest.mark.parametrize("kept", [True, False])
def test_the_past_of_a_scaler_is_on_a_disk_of_its_own(kept: bool) -> None:
    values = {"models": SCALER_MODELS, "scaler.persistence.enabled": kept}
    (scaler,) = of_kind(rendered(values=values), "StatefulSet", "scaler-demo")
    assert ("volumeClaimTemplates" in scaler["spec"]) is kept
    volumes = [each["name"] for each in scaler["spec"]["template"]["spec"]["volumes"]]
    assert ("data" in volumes) is not kept


NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?", fullmatch=True)
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
SOURCES = st.one_of(
    st.just({"baked": True}),
    st.just(CLAIM),
    st.sampled_from(["copy", "volume"]).map(lambda mode: {"image": {"reference": "r/m:1", "mode": mode}}),
    st.just({"copy": {"image": "rclone:1", "command": ["rclone", "copy", "a", "/models"]}}),
)
MODELS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "source": SOURCES},
        optional={"replicas": st.integers(0, 9), "gpus": st.integers(0, 8), "env": st.just({"A": 1, "B": True})},
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda model: str(model["name"]).lower().replace(".", "-").replace("_", "-")[:14].strip("-"),
)


@given(MODELS, st.integers(1, 5), st.booleans())
@settings(max_examples=25)
def test_any_models_render(given: list[dict[str, Any]], replicas: int, policy: bool) -> None:
    manifests = rendered(values={"models": given, "gateway.replicas": replicas, "networkPolicy.enabled": policy})
    (config,) = of_kind(manifests, "ConfigMap")
    assert [row.name for row in parse_rows(config["data"]["models.json"].encode())] == [each["name"] for each in given]
    encoders = [each for each in of_kind(manifests, "Deployment") if "-encoder-" in each["metadata"]["name"]]
    assert [each["spec"]["replicas"] for each in encoders] == [each.get("replicas", 1) for each in given]
    for each in manifests:
        assert len(each["metadata"]["name"]) <= 63
        assert LABEL.fullmatch(each["metadata"]["name"])
