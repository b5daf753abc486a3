"""What is shown by tests that run now: by name, the tests that must all pass."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.archive.places import ROOT

_FORMS, _HUB = "tests/archives/test_forms.py::", "tests/hub/test_hub_archives.py::"
FORMS: dict[str, Sequence[str]] = {
    "given name": [f"{_HUB}test_vectors_from_the_hub_are_open_clips[given name]"],
    "ARCH/TAG": [f"{_HUB}test_a_tag_comes_from_the_hub_as_well"],
    "hf-hub:": [f"{_HUB}test_vectors_from_the_hub_are_open_clips[hf-hub]"],
    "epoch_N.pt": [f"{_FORMS}test_a_fine_tuned_file[epoch_1.pt]", f"{_FORMS}test_a_fine_tuned_file_is_served"],
    "state dict": [f"{_FORMS}test_a_fine_tuned_file[weights.pt]"],
    "hub-layout folder": [f"{_FORMS}test_a_folder_in_the_hubs_layout"],
    "transformers CLIP": [f"{_FORMS}test_a_clip_of_transformers[gelu_pytorch_tanh]"],
    "transformers SigLIP": [f"{_FORMS}test_a_siglip_of_transformers[gelu_pytorch_tanh]"],
}
_CALLS = "tests/clients/test_official_clients.py::test_calls"
_REAL = "tests/clients/test_real_stack.py::test_python"
CLIENTS: dict[str, Sequence[str]] = {
    "openai": [f"{_REAL}[openai]"],
    "langchain-openai": [f"{_CALLS}[langchain_texts]", f"{_REAL}[LangChain]"],
    "llama-index": [f"{_CALLS}[llama_index_texts]", f"{_REAL}[LlamaIndex]"],
    "cohere": [f"{_CALLS}[cohere_v2]", f"{_REAL}[Cohere]"],
    "voyageai": [f"{_CALLS}[voyage_multimodal]", f"{_REAL}[Voyage]"],
    "infinity_client": [f"{_CALLS}[infinity_texts]", f"{_REAL}[Infinity]"],
    "tritonclient HTTP": [f"{_CALLS}[triton_http]", f"{_REAL}[Triton over HTTP]"],
    "tritonclient gRPC": [f"{_CALLS}[triton_grpc]", f"{_REAL}[Triton over gRPC]"],
    "kserve": [f"{_CALLS}[kserve_both]", f"{_REAL}[KServe]"],
    "TorchServe gRPC": [f"{_REAL}[TorchServe's own gRPC]"],
}


def passing(shown: Mapping[str, Sequence[str]]) -> list[str]:
    """Those whose tests were all found and passed; a skipped test shows nothing."""
    passed = _passed([test for tests in shown.values() for test in tests])
    return [name for name, tests in shown.items() if passed.issuperset(map(_function, tests))]


def _passed(tests: Sequence[str]) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode not in (0, 1):  # 1: some failed; others: a test is not there
            raise RuntimeError(done.stdout + done.stderr)
        cases = ElementTree.parse(report).iter("testcase")
        return {f"{case.get('classname')}::{case.get('name')}" for case in cases if len(case.findall("*")) == 0}


def _function(test: str) -> str:
    """A node id as the report names it."""
    path, name = test.split("::", 1)
    return f"{path.removesuffix('.py').replace('/', '.')}::{name}"
