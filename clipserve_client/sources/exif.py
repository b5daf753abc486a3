"""A photo's own account: when, with which camera, and, where asked for, where it was taken."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

Json = dict[str, Any]
_TAKEN, _CHANGED, _MAKE, _MODEL = 0x9003, 0x0132, 0x010F, 0x0110
_EXIF, _GPS = 0x8769, 0x8825
_NO_TEXT = ("Cc", "Cs")  # control characters, halves of surrogate pairs
_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")


def facts(image: Any, gps: bool) -> Json:
    """{"taken": ISO 8601 without a zone, "camera", "gps": {"lat", "lon"}}, of an open Pillow image. Never raises."""
    try:
        exif = image.getexif()
        told = {"taken": _date(exif), "camera": _camera(exif), "gps": _position(exif.get_ifd(_GPS)) if gps else None}
    except Exception:  # of whatever kind: metadata never makes a picture bad
        return {}
    return {name: value for name, value in told.items() if value}


def _date(exif: Any) -> str | None:
    match = _DATE.match(str(exif.get_ifd(_EXIF).get(_TAKEN) or exif.get(_CHANGED) or ""))
    return f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" if match and match[1] != "0000" else None


def _camera(exif: Any) -> str | None:
    make, model = (_clean(exif.get(tag)) for tag in (_MAKE, _MODEL))
    return model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()


def _clean(value: object) -> str:
    text = _utf8(value) if isinstance(value, str) else ""
    return "".join(each for each in text if unicodedata.category(each) not in _NO_TEXT).strip()[:100]


def _utf8(text: str) -> str:
    """Pillow reads EXIF texts as Latin-1; many cameras and programs write UTF-8."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _position(tags: Any) -> Json | None:
    if not tags:
        return None
    lat, lon = _degrees(tags[2], tags[1] == "S"), _degrees(tags[4], tags[3] == "W")
    return {"lat": lat, "lon": lon} if abs(lat) <= 90 and abs(lon) <= 180 else None  # False for NaN, too


def _degrees(parts: Any, negative: bool) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    return round((degrees + minutes / 60 + seconds / 3600) * (-1 if negative else 1), 6)
