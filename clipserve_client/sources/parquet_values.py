"""Values of a row's named columns: its id, its picture, its texts."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from typing import TypeGuard

from clipserve_client.sources.files import Skip

_SHOWN = 60  # characters of a value


def as_id(value: object) -> str | None:
    """Bytes are UTF-8 or hexadecimal. None for what is missing, and for what is no name."""
    if isinstance(value, bytes):
        return _of_bytes(value) or None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None if value != value else str(value)
    if isinstance(value, str | uuid.UUID) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value) or None
    return None


def _of_bytes(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()


def as_picture(value: object) -> bytes | str | None:
    """A picture's bytes, or its URL; a text is a URL, a data: URL or base64. Raises Skip for any other value."""
    if value is None or isinstance(value, bytes):
        return value or None
    if not isinstance(value, str):
        raise Skip("no picture", "the picture's column holds neither bytes nor text")
    if is_url(value):
        return value
    encoded = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(encoded, validate=True) or None
    except (binascii.Error, ValueError):
        raise Skip("no picture", "the picture's column holds a text that is neither a URL nor base64") from None


def is_url(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.lower().startswith(("http://", "https://"))


def as_text(value: object, what: str) -> str | None:
    """None for what is missing, NaN among it. Raises Skip for what is no text, or no UTF-8."""
    if value is None or isinstance(value, str) or value != value:
        return value if isinstance(value, str) else None
    if not isinstance(value, bytes):
        shown = json.dumps(value, default=str, ensure_ascii=False)[:_SHOWN]
        raise Skip(f"{what} not read", f"the row's {what} is {shown}, which is not a text")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Skip(f"{what} not read", f"the row's {what} is not UTF-8") from None
