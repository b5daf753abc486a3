"""open_clip's evaluation geometry as plain PIL calls: its torchvision transform to the bit, without those imports.

| resize_mode | what is done |
| --- | --- |
| shortest | the shorter edge to the target, the centre cut out |
| longest | the longer edge to the target, the rest filled with `fill_color` |
| squash | both edges to the target |

Source: open_clip/transform.py (`image_transform_v2`) and torchvision's `Resize` and `CenterCrop`, which round each in
their own way: the sizes here follow them.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageOps

from clip_core.errors import BadImage
from clip_core.inputs.images import MAX_IMAGE_PIXELS

MODES = ("shortest", "longest", "squash")
INTERPOLATIONS = ("bicubic", "bilinear", "random")


@dataclass(frozen=True)
class Geometry:
    """Image → RGB image of `size` (height, width); other modes are converted once resized, as the reference does."""

    size: tuple[int, int]
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill_color: int = 0

    def __call__(self, image: Image.Image) -> Image.Image:
        """Raises BadImage for a picture so long and narrow that its resized form is empty or too large to hold."""
        height, width = self._resized(image.height, image.width)
        if not (height and width) or height * width > MAX_IMAGE_PIXELS:
            raise BadImage(f"the image has {image.width}×{image.height} pixels: too narrow for its length")
        if (width, height) != image.size:
            image = image.resize((width, height), self._filter())
        cut = image if (height, width) == self.size else self._centre(image)
        return cut if cut.mode == "RGB" else cut.convert("RGB")

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """The size before the centre is cut out."""
        if self.resize_mode == "squash":
            return self.size
        if self.resize_mode == "shortest" and self.size[0] == self.size[1]:
            return _by_shorter_edge(height, width, self.size[0])
        ratios = (height / self.size[0], width / self.size[1])
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        return round(height / ratio), round(width / ratio)

    def _filter(self) -> Image.Resampling:
        """open_clip fits an oblong target by bicubic whatever is asked for, and "random" is for training."""
        always_bicubic = self.resize_mode == "shortest" and self.size[0] != self.size[1]
        bilinear = self.interpolation == "bilinear" and not always_bicubic
        return Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC

    def _centre(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        across, down = max(0, width - image.width), max(0, height - image.height)
        if across or down:
            border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
            image = ImageOps.expand(image, border, (self.fill_color,) * 3)
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image.crop((left, top, left + width, top + height))


def _by_shorter_edge(height: int, width: int, target: int) -> tuple[int, int]:
    """torchvision's `Resize` of one number: the longer edge is rounded down."""
    longer = int(target * max(height, width) / min(height, width))
    return (target, longer) if height <= width else (longer, target)
