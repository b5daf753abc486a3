"""Towers compiled ahead of time by AOTInductor: one package serves every batch size and text length.

A package holds machine code and weights in the layout of the machine that made it, so it is named after that machine
(`Machine`) and used on its like only. Loading one takes a tenth of a second and needs no compiler.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.errors import BadModel

MAX_BATCH = 4096
Forward = Callable[[Tensor], Tensor]
Program = Callable[[list[Tensor]], list[Tensor]]
log = logging.getLogger("clipserve.compiling")


@dataclass(frozen=True)
class Machine:
    """What a package depends on: torch's release, and the instructions of the CPU or the architecture of the GPU."""

    torch: str
    architecture: str
    features: tuple[str, ...]

    @classmethod
    def here(cls, device: str = "cpu") -> Machine:
        if device.startswith("cuda"):
            major, minor = torch.cuda.get_device_capability(device)
            return cls(torch.__version__, f"sm_{major}{minor}", ())
        capabilities = torch.cpu.get_capabilities()
        features = (name for name, there in capabilities.items() if there is True)
        return cls(torch.__version__, str(capabilities["architecture"]), tuple(sorted(features)))

    @classmethod
    def read(cls, path: Path) -> Machine:
        """Raises BadModel."""
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            return cls(body["torch"], body["architecture"], tuple(body["features"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadModel(f"{path.name} can't be read: {error}") from error

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def difference(self, other: Machine) -> str | None:
        """What makes a package of `self` unusable on `other`; None when nothing does."""
        if self == other:
            return None
        if self.torch != other.torch:
            return f"torch {self.torch}, here {other.torch}"
        if self.architecture != other.architecture:
            return f"{self.architecture}, here {other.architecture}"
        return f"instruction sets differ: {', '.join(sorted(set(self.features) ^ set(other.features)))}"


def compiler() -> str | None:
    """The C++ compiler that Inductor would call; None when there is none."""
    from torch._inductor import config

    candidates = config.cpp.cxx if isinstance(config.cpp.cxx, tuple | list) else (config.cpp.cxx,)
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def compile_package(module: nn.Module, example: Tensor, path: Path, longest: int | None = None) -> None:
    """Compile `module` for batches of 1 to MAX_BATCH like `example` (2 or more, …); `longest` frees dimension 1 too.

    Raises BadModel when the module can't be exported or compiled.
    """
    dims = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    if longest is not None:
        dims[1] = torch.export.Dim("length", min=2, max=longest)
    compile_program(module, (example,), (dims,), path)


def compile_program(
    module: nn.Module, examples: tuple[Tensor, ...], shapes: tuple[dict[int, Any], ...], path: Path
) -> None:
    """Compile `module` for inputs like `examples`, whose dimensions are free as `shapes` says. Raises BadModel."""
    if compiler() is None:
        raise BadModel("no C++ compiler on the PATH: install g++, or say `compile: false` in model.yaml")
    started = time.perf_counter()
    try:
        with _exportable(), torch.no_grad():
            program = torch.export.export(module, examples, dynamic_shapes=shapes)
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(path), inductor_configs=_options(examples[0].device)
            )
    except Exception as error:  # export and Inductor raise many kinds
        raise BadModel(f"{type(module).__name__} can't be compiled: {str(error)[:600]}") from error
    log.info("compiled", extra={"tower": type(module).__name__, "seconds": round(time.perf_counter() - started, 1)})


def load_package(path: Path, device: str = "cpu") -> Forward:
    """A package of one batch. Raises BadModel when the file is no package for this machine."""
    run = load_program(path, device)

    def forward(batch: Tensor) -> Tensor:
        if not 1 <= len(batch) <= MAX_BATCH:  # a package does not check its bounds
            raise BadModel(f"a compiled tower takes 1 to {MAX_BATCH} items, not {len(batch)}")
        return run([batch])[0]

    return forward


def load_program(path: Path, device: str = "cpu") -> Program:
    """A package of several inputs and outputs. Raises BadModel when the file is no package for this machine.

    By torch's loader itself: `torch._inductor.aoti_load_package` around it imports all of Inductor, which costs each
    worker a second and 70 MB.
    """
    on_gpu = device.startswith("cuda")
    index = torch.device(device).index if on_gpu else None
    try:  # on a GPU without its own synchronisation of threads, which can't be captured in a CUDA graph
        loader: Any = torch._C._aoti.AOTIModelPackageLoader(
            str(path), "model", on_gpu, 1, -1 if index is None else index
        )
    except Exception as error:
        raise BadModel(f"{path.name} can't be loaded: {error}") from error
    run: Program = loader.boxed_run
    return run


def _options(device: torch.device) -> dict[str, Any]:
    """On a GPU each sum that is read twice is written: its memory is what a block's norms wait for, and a sum of four
    is read as four.
    """
    return {"freezing": True} if device.type == "cpu" else {"freezing": True, "realize_reads_threshold": 1}


@contextlib.contextmanager
def _exportable() -> Iterator[None]:
    """open_clip's attention without its fused inference path, which can't be exported; nothing printed."""
    from torch._inductor import config

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), config.patch(freezing=True):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def warm_up(forward: Forward, example: Tensor) -> None:
    """Run `forward` on the batch sizes that take different kernels. `example`: one item, shape (1, …)."""
    with torch.inference_mode():
        for batch in (1, 2, 8):
            forward(example.expand(batch, *example.shape[1:]).contiguous())
