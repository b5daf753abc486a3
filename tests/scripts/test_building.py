"""What `up` runs to build archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.models.row_store import row
from scripts.stack.building import full_command, quick_command
from scripts.stack.up_models import UpModel

STORE = Path("store")
WHERE = ["archive", "build", "hf-hub:a/b", "--model-store", "store", "--prefix", "clip", "--no-captions"]


def model(**given: object) -> UpModel:
    return UpModel("hf-hub:a/b", row("b", default=True), None, given)


@pytest.mark.parametrize(
    ("compiled", "words"), [(None, []), (True, ["--compile"]), (False, ["--no-compile"])], ids=["own", "yes", "no"]
)
def test_a_build_is_told_what_replaces_the_models_own(compiled: bool | None, words: list[str]) -> None:
    command = full_command(model(precision="bf16", compile=compiled, tokenizer=Path("words"), name=None), STORE)
    assert command[command.index("archive") :] == [*WHERE, "--precision", "bf16", *words, "--tokenizer", "words"]


def test_a_quick_build_is_fp32_and_not_compiled_whatever_the_model_says() -> None:
    command = quick_command(model(precision="bf16", compile=True, architecture="ViT-B-32"), STORE)
    assert command[command.index("archive") :] == [*WHERE, "--architecture", "ViT-B-32", "--quick"]
