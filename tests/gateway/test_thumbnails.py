"""How thumbnails are made."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from clip_core.errors import BadImage, ImageTooLarge
from gateway.pictures.thumbnails import nearest, thumbnails
from tests.gateway.made_pictures import MOST, encoded, middle, opened


@pytest.mark.parametrize(
    ("size", "made"),
    [((4000, 3000), (768, 576)), ((3000, 4000), (576, 768)), ((300, 200), (300, 200)), ((5000, 3), (768, 1))],
)
def test_the_longer_side_is_bounded_and_nothing_is_enlarged(size, made):
    found = thumbnails(encoded(Image.new("RGB", size, "red"), "JPEG"), MOST)
    assert opened(found[768]).size == made
    assert max(opened(found[256]).size) == min(256, max(size))
    assert all(opened(each).format == "WEBP" for each in found.values())


def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same():
    ramp = Image.linear_gradient("L").resize((4000, 3000)).convert("RGB")
    small = opened(thumbnails(encoded(ramp, "JPEG", quality=95), MOST)[768]).convert("RGB")
    expected = ramp.resize((768, 576), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(small, int) - np.asarray(expected, int)).mean() < 3


def test_upright():
    image = Image.new("RGB", (400, 200), "blue")
    exif = image.getexif()
    exif[0x0112] = 6
    assert opened(thumbnails(encoded(image, "JPEG", exif=exif), MOST)[768]).size == (200, 400)


def test_transparent_is_on_white():
    assert middle(thumbnails(encoded(Image.new("RGBA", (600, 600), (255, 0, 0, 0))), MOST)[256]) == (255, 255, 255)


def test_the_first_frame_counts():
    frames = [Image.new("RGB", (40, 40), each) for each in ("red", "blue")]
    red, _, blue = middle(thumbnails(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), MOST)[256])
    assert red > 200 > 50 > blue


def test_cmyk_and_16_bits():
    cyan = middle(thumbnails(encoded(Image.new("CMYK", (40, 40), (255, 0, 0, 0)), "JPEG"), MOST)[256])
    assert cyan[0] < 60
    assert min(cyan[1:]) > 150
    grey = Image.fromarray(np.full((40, 40), 32768, np.uint16))
    assert abs(middle(thumbnails(encoded(grey), MOST)[256])[0] - 128) < 4


def test_a_small_colour_profile_stays():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert len(profile) < 4096
    made = thumbnails(encoded(Image.new("RGB", (900, 30)), "JPEG", icc_profile=profile), MOST)
    assert {opened(each).info.get("icc_profile") for each in made.values()} == {profile}
    cmyk = encoded(Image.new("CMYK", (90, 30)), "JPEG", icc_profile=profile)
    assert not opened(thumbnails(cmyk, MOST)[256]).info.get("icc_profile")


def test_bombs_and_damaged_pictures():
    bomb = encoded(Image.new("1", (9000, 9000)))
    with pytest.raises(ImageTooLarge):
        thumbnails(bomb, MOST)
    with pytest.raises(BadImage):
        thumbnails(encoded(Image.effect_noise((600, 600), 50))[:5000], MOST)
    with pytest.raises(BadImage):
        thumbnails(b"", MOST)


def test_damaged_metadata_never_makes_it_bad():
    """As for the encoder: the same picture must not be searchable and without a thumbnail."""
    broken = encoded(Image.new("RGB", (60, 40), "red"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert opened(thumbnails(broken, MOST)[256]).size == (60, 40)


def test_nearest():
    assert [nearest(size) for size in (1, 256, 257, 768, 4000)] == [256, 256, 768, 768, 768]
