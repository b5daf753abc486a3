"""docs/deploying.md shows what the defaults create."""

from __future__ import annotations

import re

import yaml

from benchmarks.ship.helm import CHART, ROOT, helm, rendered, scenario

KINDS = ("ConfigMap", "Deployment", "Service", "StatefulSet")


def test_the_list_of_what_gets_created() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    block = page.partition("```text\n")[2].partition("```")[0]
    shown = {tuple(line.split()[:2]) for line in block.splitlines()}
    manifests = yaml.safe_load_all(helm("template", "clipserve", str(CHART), "--skip-tests"))
    assert shown == {(each["kind"], each["metadata"]["name"]) for each in manifests if each}


def test_the_picture_names_what_there_is() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    picture = page.partition("```\n  ")[2].partition("```")[0]
    named = set(re.findall(r"(?:Service|Deployment|StatefulSet|ConfigMap) (clipserve[a-z-]*)", picture))
    manifests = list(yaml.safe_load_all(helm("template", "clipserve", str(CHART), "--skip-tests")))
    shown = {each["metadata"]["name"] for each in manifests if each and each["kind"] in KINDS}
    assert named == shown
    assert "clipserve-keys" in picture
    assert "data-clipserve-index-0" in picture


def test_five_million_pictures() -> None:
    """The table is what the example asks for."""
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8").partition("## Five million")[2]
    rows = re.findall(r"^\| (gateway|encoder|index) \| (\d) \| (\d) \| (\d+) Gi", page, re.MULTILINE)
    manifests = rendered(*scenario(CHART / "ci" / "five-million-values.yaml"))
    asked = [each["spec"] for each in manifests if each["kind"] in ("Deployment", "StatefulSet")]
    found = {}
    for spec in asked:
        (container,) = spec["template"]["spec"]["containers"]
        found[container["name"]] = (spec["replicas"], *container["resources"]["requests"].values())
    assert {part: (int(n), cores, f"{memory}Gi") for part, n, cores, memory in rows} == found
    (gateway,) = (each for each in asked if each["template"]["spec"]["containers"][0]["name"] == "gateway")
    env = {each["name"]: each.get("value") for each in gateway["template"]["spec"]["containers"][0]["env"]}
    assert int(env["CLIPSERVE_GATEWAY_PICTURES_MAX_BYTES"]) >= 5_000_000 * 100_000, "what docs/sizing.md counts"
    cores = sum(int(n) * int(each) for _, n, each, _ in rows)
    memory = sum(int(n) * int(each) for _, n, _, each in rows)
    assert re.search(rf"^\| together \| \| {cores} \| {memory} Gi \|", page, re.MULTILINE)
    assert f"{cores} × 0.04 + {memory} × 0.005 = {cores * 0.04 + memory * 0.005:.2f} USD" in page


def test_sources_that_the_page_names_are_examples() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    assert re.search(r"`k8s/helm/clipserve/ci/` has an example", page)
    assert len(list((CHART / "ci").glob("*-values.yaml"))) >= 12
