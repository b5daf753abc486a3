"""Base64 and data: URLs in every form that browsers read and encoders write.

https://infra.spec.whatwg.org/#forgiving-base64-decode and https://fetch.spec.whatwg.org/#data-urls, with these
additions: the URL-safe alphabet, surplus padding, a byte order mark, and commas inside quotes.
"""

from __future__ import annotations

import binascii
import re

import pybase64

from clip_core.errors import BadImage

_BEFORE = "\ufeff" + "".join(map(chr, range(0x21)))  # a byte order mark, and what the URL standard strips
_WHITESPACE = b"\t\n\f\r "
_STANDARD = bytes.maketrans(b"-_", b"+/")
_HEAD = re.compile(r'data:([^,"]*+(?:"[^"]*+"[^,"]*+)*+|[^,]*),', re.IGNORECASE)
_IS_BASE64 = re.compile(r";\s*base64\s*\Z", re.IGNORECASE)


def decode_base64(text: str) -> bytes:
    """Strict base64 at full speed, other forms when that fails. Raises ValueError."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        digits = text.lstrip("\ufeff").encode("ascii").translate(_STANDARD, _WHITESPACE).rstrip(b"=")
        return pybase64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)


def without_whitespace(text: str) -> str:
    return text.encode("utf-8", "replace").translate(None, _WHITESPACE).decode("utf-8", "replace")


def image_base64(reference: str) -> str:
    """A data: URL or base64 → base64 in a form that `decode_base64` reads, not checked. Raises BadImage."""
    text = reference.lstrip(_BEFORE)
    if text[:5].lower() != "data:":
        return text
    head = _HEAD.match(text)
    if head is None or head.end() == len(text):
        raise BadImage("the data: URI is not `data:image/…;base64,…`", param="image")
    data = text[head.end() :]
    if "#" in data:
        data = data.partition("#")[0]
    if _IS_BASE64.search(head[1]):
        return percent_decoded(data).decode("latin-1") if "%" in data else data
    return pybase64.b64encode(percent_decoded(without_whitespace(data))).decode("ascii")


def percent_decoded(text: str) -> bytes:
    """By the C code for quoted-printable, which has the same digits: urllib takes seconds for some megabytes."""
    return binascii.a2b_qp(text.encode("utf-8", "replace").replace(b"=", b"=3D").replace(b"%", b"="))
