"""The last step of a build: bytecode, since nothing can be written at run time, and what the image is made of.

`/opt/clipserve/sbom.json` is a software bill of materials (CycloneDX 1.5); `licences.txt` has a line for each package.
"""

from __future__ import annotations

import compileall
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

HOME = Path("/opt/clipserve")
DPKG = Path("/var/lib/dpkg/status")


@dataclass(frozen=True)
class Component:
    """A package; `kind` is purl's: pypi or deb."""

    kind: str
    name: str
    version: str
    licence: str

    def to_dict(self) -> dict[str, object]:
        place = "deb/debian" if self.kind == "deb" else self.kind
        return {
            "type": "library",
            "name": self.name,
            "version": self.version,
            "purl": f"pkg:{place}/{self.name}@{self.version}",
            "licenses": [{"license": {"name": self.licence}}],
        }


def python_packages(site: Path) -> Iterator[Component]:
    for path in sorted(site.glob("*.dist-info/METADATA")):
        facts = Parser().parsestr(path.read_text(encoding="utf-8"), headersonly=True)
        yield Component("pypi", facts["Name"].lower().replace("_", "-"), facts["Version"], _licence(facts))


def _licence(facts: object) -> str:
    """The SPDX expression; else the trove classifier, which is shorter than the free text."""
    get = facts.get_all  # type: ignore[attr-defined]
    expression = (get("License-Expression") or [""])[0]
    classifiers = [text.rpartition(" :: ")[2] for text in get("Classifier") or [] if text.startswith("License ::")]
    free = (get("License") or [""])[0].strip().partition("\n")[0]
    return expression or ", ".join(classifiers) or free[:100] or "unknown: see its METADATA"


def debian_packages(status: Path) -> Iterator[Component]:
    for entry in re.split(r"\n\n+", status.read_text(encoding="utf-8")):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", entry, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name = fields["Package"]
            yield Component("deb", name, fields["Version"], f"see /usr/share/doc/{name}/copyright")


def sbom(components: list[Component]) -> dict[str, object]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [each.to_dict() for each in components],
    }


def main() -> None:
    site = next((HOME / "venv").glob("lib/python3*/site-packages"))
    found = [*python_packages(site), *debian_packages(DPKG)]
    (HOME / "sbom.json").write_text(json.dumps(sbom(found), indent=1), encoding="utf-8")
    lines = [f"{each.name} {each.version}: {each.licence}\n" for each in found]
    (HOME / "licences.txt").write_text("".join(lines), encoding="utf-8")
    for folder in (site, HOME / "app"):
        compileall.compile_dir(folder, quiet=2, workers=1)  # some packages carry files for other versions


if __name__ == "__main__":
    sys.exit(main())
