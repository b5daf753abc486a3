"""A CoCa checkpoint of open_clip's → our image tower and decoder, with every weight accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE, WEIGHTS_FILE
from clip_core.networks import coca_decoder, coca_image, int8
from clip_core.networks.coca_absorbed import absorb
from clip_core.networks.coca_decoder import CocaDecoder
from clip_core.networks.coca_image import CocaImage
from clip_core.networks.plain_coca import PlainCoca
from clip_core.networks.precision import apply

PRECISIONS = ("fp32", "bf16", "int8")


def load_coca(
    model: Any,
    model_dir: Path,
    mean: Sequence[float],
    std: Sequence[float],
    precision: str = "fp32",
    *,
    absorbed: bool = False,
) -> tuple[CocaImage, CocaDecoder]:
    """Both parts on the CPU, of what `build_coca` or `build_model` built of that folder.

    `mean` and `std` are of pixels in [0, 1].
    `absorbed`: what the decoder keeps of a picture is small (`coca_absorbed.py`). Raises BadModel.
    """
    if precision not in PRECISIONS:
        raise BadModel(f"a captioner's precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    reason = coca_decoder.unsupported(model) or coca_image.unsupported(model.visual)
    if reason is not None:
        raise BadModel(f"{CONFIG_FILE} describes no captioner that runs here: {reason}")
    try:
        state = {key: value.float() for key, value in load_file(model_dir / WEIGHTS_FILE).items()}
        model.load_state_dict(state, strict=True, assign=isinstance(model, PlainCoca))
    except Exception as error:  # safetensors and torch raise many kinds
        raise BadModel(f"{WEIGHTS_FILE} does not fit {CONFIG_FILE}: {str(error)[:300]}") from error
    image = CocaImage(model.visual, mean, std).eval()
    decoder = CocaDecoder(model).eval()
    if absorbed:
        absorb(decoder)
    apply(image, precision)
    head, decoder.head = decoder.head, torch.nn.Identity()
    apply(decoder, precision)
    # Logits in bfloat16 would tie, so they are in float32 whatever the precision.
    decoder.head = head
    if precision == "int8":
        _refine(decoder)
    return image, decoder


def _refine(decoder: CocaDecoder) -> None:
    """A beam search adds up scores, and with them their errors: half as large by activations of twice 8 bits.

    Steps wait for weights, which are read once in any case; a picture's keys and values do not.
    """
    assert isinstance(decoder.head, torch.nn.Linear), "CocaDecoder makes its head so"
    decoder.head = int8.ShortlistHead(decoder.head)
    for name, layer in decoder.named_modules():
        if isinstance(layer, int8.Int8Linear) and not name.endswith(".kv") and not name.startswith("head."):
            layer.fine, layer.product = True, torch.float32
