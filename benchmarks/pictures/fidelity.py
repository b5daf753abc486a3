"""Whether the vectors of an ingest are those of the pictures decoded whole, as the loop decodes them."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np

from benchmarks.drawings.demo_model import DemoModel
from benchmarks.pictures.ingest import COLLECTION
from benchmarks.pictures.photos import DRAWN, PhotoFolder
from clip_core.inputs.images import decode
from clip_core.wire import FloatArray, decode_vector
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack


def least_cosine(stack: LiveStack, folder: PhotoFolder) -> float:
    """Of the vectors in the collection to open_clip's own, over each different photo of the folder."""
    model, kept, cosines = DemoModel.load(), PublicApi(stack.gateway), list[float]()
    for path in folder.good[:DRAWN]:
        item_id = quote(str(path.relative_to(folder.root)), safe="")
        shown = kept.call("GET", f"/v1/collections/{COLLECTION}/items/{item_id}?include=vector")
        own: FloatArray = model.pictures([decode(path.read_bytes())])[0].numpy()
        cosines.append(float(np.dot(own, decode_vector(shown["vector"]))))
    return min(cosines)
