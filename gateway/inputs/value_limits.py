"""How many values a JSON text may hold: parsing stops all else while it goes on, by the values and not by the bytes."""

from __future__ import annotations

from clip_core.errors import TooLarge

VALUES_EACH = 2048  # numbers of a vector and values of metadata, for each of the inputs or items of a call
_FLAT = 8  # values for each list or object, which cost as much as these


def check_values(content: bytes | bytearray, most: int) -> None:
    """Raises TooLarge for more than `most`, counted roughly: commas and braces in strings count, too."""
    if len(content) <= most:
        return
    nested = content.count(b"[") + content.count(b"{")
    if content.count(b",") > most or nested * _FLAT > most:
        raise TooLarge(
            f"the body holds more than {most} JSON values, or {most // _FLAT} lists and objects: "
            "send fewer at a time, and vectors as base64"
        )
