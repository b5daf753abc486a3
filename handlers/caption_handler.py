"""The `clip_caption` endpoint: a picture → its caption, whole or as a stream, or how likely texts are for it."""

from clip_core.serving.captions.handler import CaptionBatchHandler


class CaptionHandler(CaptionBatchHandler):
    """All is in the base class: there is one kind of captioner."""
