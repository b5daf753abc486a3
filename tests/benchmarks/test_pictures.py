"""The folder of photos that ingests are measured with."""

from __future__ import annotations

import hashlib

import pytest
from PIL import Image, UnidentifiedImageError

from benchmarks.pictures import photos


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "SIZE", (160, 120))
    return photos.make_folder(tmp_path / "photos", 80, lambda _: None)


def test_every_file_is_known_as_good_or_bad(folder):
    assert sorted([*folder.good, *folder.bad]) == sorted(folder.root.rglob("*.JPG"))
    assert len(folder.bad) == 4


def test_good_ones_are_photos_of_their_own(folder):
    for path in folder.good:
        with Image.open(path) as photo:
            photo.load()
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in folder.good}) == 76


def test_bad_ones_are_read_by_nobody(folder):
    for path in folder.bad:
        with pytest.raises((UnidentifiedImageError, OSError)), Image.open(path) as photo:
            photo.load()
