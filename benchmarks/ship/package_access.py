"""How a build of images reaches packages from this machine: certificates, indexes of pip, proxies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SECRETS = {"ca": _CERTIFICATES, "pip_conf": "/etc/pip.conf"}  # what a build is given → where it is in a container
_WHERE_PIP_LOOKS = ("index-url", "extra-index-url", "trusted-host", "proxy")
_LINE = re.compile(r"^(?::env:|global|install)\.([\w-]+)='(.*)'$", re.MULTILINE)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


def secrets(folder: Path) -> list[str]:
    """Build secrets: this machine's certificates, and where its pip looks for packages."""
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or _CERTIFICATES
    given = [f"id=ca,src={certificates}"] if Path(certificates).is_file() else []
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    if options := pip_options(listed.stdout):
        path = folder / "pip.conf"
        path.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in options.items()), ""]))
        given.append(f"id=pip_conf,src={path}")
    return given


def pip_options(listed: str) -> dict[str, str]:
    """Those of `pip config list` that a build needs, too. Folders of this machine are not in a build."""
    found: dict[str, str] = {}  # variables of the environment come first, and win
    for name, value in _LINE.findall(listed):
        reached = " ".join(word for word in value.replace("\\n", " ").split() if not word.startswith(("file:", "/")))
        if name in _WHERE_PIP_LOOKS and reached:
            found.setdefault(name, reached)
    return found


def proxies(environment: Mapping[str, str]) -> list[str]:
    """Names of variables that a build or a container is given as they are here."""
    return [name for known in _PROXIES for name in (known, known.upper()) if environment.get(name)]
