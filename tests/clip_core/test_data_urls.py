"""Images and vectors are read from base64 and data: URLs in every form that browsers and encoders write."""

from __future__ import annotations

import base64
import urllib.parse

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.data_urls import decode_base64, percent_decoded
from clip_core.errors import BadImage
from clip_core.inputs.images import from_reference
from clip_core.wire import decode_vector, encode_vector

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
TEXT = base64.b64encode(PNG).decode()
SAFE = base64.urlsafe_b64encode(PNG).decode()
ESCAPED = urllib.parse.quote(PNG)

BASE64 = [
    TEXT,
    base64.encodebytes(PNG).decode(),
    base64.encodebytes(PNG).decode().replace("\n", "\r\n"),
    SAFE,
    SAFE.rstrip("="),
    TEXT.rstrip("="),
    TEXT + "==",
    "\ufeff" + TEXT,
    " \t\r\n" + TEXT + "\n",
]
DATA_URLS = [
    f"data:image/png;base64,{TEXT}",
    f"data:image/png;base64,{SAFE}",
    f"data:image/png;base64, {TEXT}",
    f"data:image/png; base64,{TEXT}",
    f"data:image/png;BASE64 ,{TEXT}",
    f"DATA:image/png;base64,{TEXT}",
    f" \ufeffdata:image/png;base64,{TEXT}\n",
    f"data:;base64,{urllib.parse.quote(TEXT, safe='')}",
    f'data:image/png;name="a, b";base64,{TEXT}',
    f'data:image/png;name="a;base64,{TEXT}',
    f"data:image/png;base64,{TEXT}#fragment",
    f"data:image/png,{ESCAPED}",
    f"data:,{ESCAPED[:90]}\n{ESCAPED[90:]}",
]


@pytest.mark.parametrize("reference", [*BASE64, *DATA_URLS])
def test_forms_of_a_picture(reference: str) -> None:
    assert from_reference(reference) == PNG


PAGES = ["http://example.org/a.png", "file:///etc/passwd"]
URLS = ["data:", "data:x", "data:image/png;base64", "data:image/png;base64,", "data:image/png;base64,a"]


@pytest.mark.parametrize("reference", ["A", "AAAAA", "AA=A", "AA*A", "***", "é" * 4, *URLS, *PAGES])
def test_what_is_no_base64_is_refused(reference: str) -> None:
    with pytest.raises(BadImage):
        from_reference(reference)


@given(st.binary(), st.booleans(), st.integers(0, 3), st.integers(1, 80))
def test_any_bytes_in_any_form(content: bytes, safe: bool, padding: int, width: int) -> None:
    encoded = (base64.urlsafe_b64encode if safe else base64.b64encode)(content).decode().rstrip("=") + "=" * padding
    assert decode_base64("\n".join(encoded[i : i + width] for i in range(0, len(encoded), width))) == content


@given(st.binary())
def test_percent_escapes_as_urllib_reads_them(content: bytes) -> None:
    assert percent_decoded(urllib.parse.quote(content)) == content


def test_a_vector_may_have_line_breaks() -> None:
    vector = np.arange(64, dtype=np.float32)
    lines = base64.encodebytes(base64.b64decode(encode_vector(vector))).decode()
    assert np.array_equal(decode_vector(lines), vector)
