"""What a worker will prepare for its towers against what open_clip does, before an archive is made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from clip_core.errors import BadModel
from clip_core.inputs.preprocessing import Preprocessing
from clip_core.inputs.tokens import Tokenizer

SIZES = ((640, 480), (480, 641), (33, 31), (1, 60), (400, 20), (223, 225))
TEXTS = (
    *(
        "a photo of a dog",
        "  Two\tBLUE stars,\n on black!  ",
        "it's 1,024 m² — naïve café",
        "&lt;b&gt; &amp;amp; &eacute;",
    ),
    *("東京 🦀👩‍👩‍👧 Ωμέγα ﬁﬂ ſ İstanbul", "doesnâ€™t", "<start_of_text> x <end_of_text>", "word " * 300, "x" * 500),
)


def reference_transform(model: Any) -> Any:
    """open_clip's evaluation transform of a model that it built: RGB image → (3, H, W) float32."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)), is_train=False)


def check_pixels(ours: Preprocessing, reference: Any) -> None:
    """Raises BadModel unless both give the same pixels to the bit, for shapes that tell resize modes apart."""
    rng = np.random.default_rng(0)
    for width, height in SIZES:
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        if not torch.equal(ours.float32(picture), reference(picture)):
            raise BadModel(f"a picture of {width}×{height} gets other pixels than from open_clip's own transform")


def check_tokens(reference: Any, packed: Tokenizer) -> None:
    """Raises BadModel unless the tokenizer that a worker loads gives the ids of open_clip's own, `reference`."""
    for text in TEXTS:
        if not torch.equal(packed(text).ids, reference([text])[0]):
            raise BadModel(f"the packed tokenizer gives other ids than open_clip's own for {text[:60]!r}")
