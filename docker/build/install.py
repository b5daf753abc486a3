"""`python install.py LOCK OPTION…`: a lock into the image's environment, without pip and what nobody runs in an image.

`python install.py --ours FOLDER`: our own package, with its command line; what it needs is there already.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from pathlib import Path

VENV = Path("/opt/clipserve/venv")
_UNUSED = (
    "**/*.pxd",
    "**/*.pxi",
    "**/*.pyi",
    "**/*.pyx",
    "botocore/data/*/*/examples-1.json",
    "pyarrow/include",
    "pyarrow/src",
    "pyarrow/tests",
    "pyarrow/_flight*",
    "pyarrow/_hdfs*",
    "pyarrow/_orc*",
    "pyarrow/_s3fs*",
    "pyarrow/libarrow_flight*",
    "pyarrow/libarrow_python*.so",  # copies: it is loaded by its name with a number
    "pyarrow/libarrow_python*.so.*.*.*",
    "pyarrow/libarrow_python_flight*",
    "pyarrow/libarrow_s3*",
    "numpy/**/tests",
    "numpy/_core/_simd*",  # of numpy's own tests
    "numpy/f2py",
)
# The gateway asks a language model for chat completions and responses. The package loads its other parts when used.
_NOT_ASKED = ("admin", "beta", "containers", "evals", "fine_tuning", "live", "realtime", "skills", "vector_stores")
# S3, and what gives it credentials in a cluster or a cloud. botocore describes four hundred other services.
_AWS_SERVICES = ("s3", "sso", "sso-oidc", "sts")
_WITH_SYMBOLS = ("PIL", "aiohttp", "frozenlist", "httptools", "multidict", "propcache", "uvloop", "wrapt", "yarl")
_LARGE = "pyarrow/lib*.so.*"  # with symbols that no loader looks at, a fifth of them
_USED = "import pyarrow.dataset, pyarrow.parquet, pyarrow.compute"


def install(*words: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(VENV / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-compile", *words], check=True)


def remove_unused() -> None:
    packages = _packages()
    parts = [f"openai/{kind}/{part}" for kind in ("resources", "types") for part in _NOT_ASKED]
    for pattern in (*_UNUSED, *parts):
        for path in list(packages.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in packages.glob("botocore/data/*"):
        if path.is_dir() and path.name not in _AWS_SERVICES:
            shutil.rmtree(path)


def strip_symbols() -> None:
    """Extension modules, and libraries that a wheel has as they were linked: ones that it renamed may not load then."""
    packages = _packages()
    modules = [path for name in _WITH_SYMBOLS for path in (packages / name).rglob("*.cpython-*.so")]
    subprocess.run(["strip", "--strip-debug", *map(str, modules)], check=True)
    subprocess.run(["strip", "--strip-unneeded", *map(str, packages.glob(_LARGE))], check=True)


def check() -> None:
    """What is left still loads."""
    found = {path.name for path in _packages().iterdir()}
    lines = [_USED]
    if "openai" in found:
        lines += ["from openai import AsyncOpenAI", "client = AsyncOpenAI(api_key='-')"]
        lines += ["client.chat.completions, client.responses, client.models"]
    if "s3fs" in found:
        lines += ["import s3fs, botocore.session", "session = botocore.session.get_session()"]
        lines += [f"[session.create_client(name, 'eu-west-1') for name in {_AWS_SERVICES}]"]
    if "PIL" in found:
        lines += ["import PIL.features", "assert PIL.features.check('avif') and PIL.features.check('webp')"]
    subprocess.run([VENV / "bin" / "python", "-B", "-c", "; ".join(lines)], check=True)


def _packages() -> Path:
    return next(VENV.glob("lib/python3*/site-packages"))


def main(lock: str, *options: str) -> None:
    if lock == "--ours":
        install("--no-deps", "--no-build-isolation", *options)
        return
    install("--require-hashes", "--requirement", lock, *options)
    remove_unused()
    strip_symbols()
    check()
    compileall.compile_dir(_packages(), quiet=2)  # here already: a change of our code compiles ours alone


if __name__ == "__main__":
    main(*sys.argv[1:])
