"""The `clip_text` endpoint: texts → vectors, or hits when a request carries a `search` part."""

from clip_core.serving.batch_handler import BatchHandler


class TextHandler(BatchHandler):
    kinds = frozenset({"text", "vector"})
    bare = "text"
