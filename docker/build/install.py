"""`python install.py LOCK OPTION…`: a lock into the image's environment, without pip and what nobody runs in an image.

`python install.py --ours FOLDER`: our own package, with its command line; what it needs is there already.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

VENV = Path("/opt/clipserve/venv")
_UNUSED = (  # the services use pyarrow for Parquet on local disks
    "pyarrow/include",
    "pyarrow/src",
    "pyarrow/tests",
    "pyarrow/_flight*",
    "pyarrow/_s3fs*",
    "pyarrow/libarrow_flight*",
    "pyarrow/libarrow_s3*",
    "pyarrow/libarrow_python*.so",  # copies: it is loaded by its name with a number
    "pyarrow/libarrow_python*.so.*.*.*",
    "numpy/**/tests",
)
_WITH_SYMBOLS = ("aiohttp", "httptools", "multidict", "uvloop")  # of a debugger, most of what these packages take


def install(*words: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(VENV / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-compile", *words], check=True)


def remove_unused() -> None:
    packages = next(VENV.glob("lib/python3*/site-packages"))
    for pattern in _UNUSED:
        for path in list(packages.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    subprocess.run([VENV / "bin" / "python", "-B", "-c", "import pyarrow.dataset, pyarrow.parquet"], check=True)


def strip_symbols() -> None:
    """Only extension modules: a library that a wheel brings along may not load once it is changed."""
    packages = next(VENV.glob("lib/python3*/site-packages"))
    found = [str(path) for name in _WITH_SYMBOLS for path in (packages / name).rglob("*.cpython-*.so")]
    subprocess.run(["strip", "--strip-debug", *found], check=True)


def main(lock: str, *options: str) -> None:
    if lock == "--ours":
        install("--no-deps", "--no-build-isolation", *options)
        return
    install("--require-hashes", "--requirement", lock, *options)
    remove_unused()
    strip_symbols()


if __name__ == "__main__":
    main(*sys.argv[1:])
