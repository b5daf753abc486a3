"""The `clip_image` endpoint: images → vectors, or hits when a request carries a `search` part."""

from clip_core.serving.batch_handler import BatchHandler


class ImageHandler(BatchHandler):
    kinds = frozenset({"image", "vector"})
    bare = "image"
