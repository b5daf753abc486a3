"""The `clip_multimodal` endpoint: texts, images and weighted mixtures of both → vectors or hits."""

from clip_core.serving.batch_handler import BatchHandler


class MultimodalHandler(BatchHandler):
    kinds = frozenset({"text", "image", "vector"})
    bare = "text"
