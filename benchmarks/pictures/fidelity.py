"""Whether the vectors of an ingest are those of the pictures decoded whole, as the loop decodes them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np
import open_clip
import torch

from benchmarks.pictures.ingest import COLLECTION
from benchmarks.pictures.photos import DRAWN, PhotoFolder
from clip_core.inputs.images import decode
from clip_core.wire import FloatArray, decode_vector
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack


def least_cosine(stack: LiveStack, folder: PhotoFolder, checkpoint: Path) -> float:
    """Of the vectors in the collection to open_clip's own, over each different photo of the folder."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{checkpoint}")
    model.eval()
    kept = PublicApi(stack.gateway)
    cosines = []
    for path in folder.good[:DRAWN]:
        item_id = quote(str(path.relative_to(folder.root)), safe="")
        shown = kept.call("GET", f"/v1/collections/{COLLECTION}/items/{item_id}?include=vector")
        with torch.inference_mode():
            pixels = transform(decode(path.read_bytes()))[None]
            own: FloatArray = model.encode_image(pixels, normalize=True)[0].numpy()
        cosines.append(float(np.dot(own, decode_vector(shown["vector"]))))
    return min(cosines)
