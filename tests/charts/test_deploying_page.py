"""docs/deploying.md shows what the defaults create."""

from __future__ import annotations

import re

import yaml

from benchmarks.ship.helm import CHART, ROOT, helm


def test_the_list_of_what_gets_created() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    block = page.partition("```text\n")[2].partition("```")[0]
    shown = {tuple(line.split()[:2]) for line in block.splitlines()}
    manifests = yaml.safe_load_all(helm("template", "clipserve", str(CHART), "--skip-tests"))
    assert shown == {(each["kind"], each["metadata"]["name"]) for each in manifests if each}


def test_sources_that_the_page_names_are_examples() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    assert re.search(r"`k8s/helm/clipserve/ci/` has an example", page)
    assert len(list((CHART / "ci").glob("*-values.yaml"))) >= 12
