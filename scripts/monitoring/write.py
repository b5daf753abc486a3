"""`python -m scripts.monitoring.write`: writes monitoring/rules.yml and monitoring/grafana/ from the code."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from scripts.archive.places import DATA
from scripts.monitoring.alert_rules import rules
from scripts.monitoring.dashboards import DASHBOARDS, dashboard

FOLDER = DATA / "monitoring"
_HEAD = "# Made by `python -m scripts.monitoring.write` from monitoring/thresholds.yaml.\n"


def files() -> dict[Path, str]:
    """Path → content."""
    given = yaml.safe_load((FOLDER / "thresholds.yaml").read_text(encoding="utf-8"))
    made = {FOLDER / "rules.yml": _HEAD + yaml.safe_dump(rules(given), sort_keys=False, width=1000)}
    for title, panels in DASHBOARDS.items():
        content = json.dumps(dashboard(title, panels), indent=1) + "\n"
        made[FOLDER / "grafana" / f"{title.lower()}.json"] = content
    return made


if __name__ == "__main__":
    for path, content in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
