"""What a caller wants encoded: a text, an image, a vector, or a weighted mix of them, checked and named."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pybase64

from clip_core.errors import BadImage, BadInput, BadText, FetchRefused, ImageTooLarge, InvalidRequest
from clip_core.wire import decode_vector, encode_vector, image_base64, unit, without_whitespace
from gateway.inputs.source import KINDS, Kind, Source
from gateway.inputs.urls import UrlPolicy, is_http_url

MAX_PARTS = 32
MAX_ID = 512


@dataclass(frozen=True)
class InputParser:
    """Checks inputs against the limits. Raises BadInput that names the place in the request."""

    max_image_bytes: int
    urls: UrlPolicy | None = None  # None: no URL is fetched

    def source(self, body: Mapping[str, Any], at: str = "", allowed: Sequence[Kind] = KINDS) -> Source:
        """The one of text, image, vector and query that `body` holds; `at` is the body's own place."""
        given = [kind for kind in KINDS if body.get(kind) is not None]
        if len(given) != 1 or given[0] not in allowed:
            names = ", ".join(f"`{kind}`" for kind in allowed)
            found = " and ".join(f"`{kind}`" for kind in given) or "none"
            raise InvalidRequest(f"give exactly one of {names} (found {found})", param=at or given_param(given))
        param = f"{at}.{given[0]}" if at else given[0]
        return self.of_kind(given[0], body[given[0]], param)

    def of_kind(self, kind: Kind, value: object, param: str) -> Source:
        if kind == "text":
            return Source(kind, checked_text(value, param), param)
        if kind == "image":
            return Source(kind, self.image(value, param), param)
        if kind == "vector":
            return Source(kind, checked_vector(value, param), param)
        if kind == "like":
            return Source(kind, checked_id(value, param), param)
        return Source(kind, self._parts(value, param), param)

    def image(self, value: object, param: str) -> str:
        """A data: URI or base64 → base64 of any form, not decoded; an admissible http(s) URL → itself."""
        if value == "":
            raise BadImage("the image is empty (0 bytes)", param=param)
        if not isinstance(value, str):
            raise BadImage("an image is a data: URI, base64, or an upload", param=param)
        with renamed(param):
            encoded = image_base64(value)
        if is_http_url(encoded):
            return self._url(encoded.strip(), param)
        if ":" in encoded[:128]:
            raise BadImage("this kind of URL is not accepted; send a data: URI, base64 or an upload", param=param)
        if self._too_large(encoded) and self._too_large(without_whitespace(encoded)):
            raise ImageTooLarge(f"the image is larger than {self.max_image_bytes} bytes", param=param)
        return encoded

    def _too_large(self, encoded: str) -> bool:
        return len(encoded) // 4 * 3 > self.max_image_bytes + 2

    def _url(self, value: str, param: str) -> str:
        if self.urls is None:
            raise FetchRefused("fetching images by URL is off; send a data: URI, base64 or an upload", param=param)
        with renamed(param):
            self.urls.checked(value)
        return value

    def upload(self, content: bytes, param: str) -> str:
        """The bytes of an uploaded file → base64."""
        if len(content) > self.max_image_bytes:
            raise ImageTooLarge(f"the image is larger than {self.max_image_bytes} bytes", param=param)
        return pybase64.b64encode_as_string(content)

    def _parts(self, value: object, param: str) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_PARTS:
            raise InvalidRequest(f"`query` is a list of 1 to {MAX_PARTS} weighted parts", param=param)
        return [self._part(part, f"{param}[{place}]") for place, part in enumerate(value)]

    def _part(self, part: object, at: str) -> dict[str, Any]:
        if not isinstance(part, dict):
            raise InvalidRequest("a part is an object with `text`, `image`, `vector` or `like`", param=at)
        source = self.source(part, at, ("text", "image", "vector", "like"))
        if source.kind == "vector":
            check_direction(source.value, f"{at}.vector")
        return {**source.item(), "weight": _weight(part.get("weight", 1.0), f"{at}.weight")}


def given_param(given: Sequence[str]) -> str | None:
    """Which field an error about too many fields should point at: the last of them."""
    return given[-1] if given else None


def checked_text(value: object, param: str) -> str:
    if not isinstance(value, str):
        raise BadText("a text is a string", param=param)
    return value


def checked_id(value: object, param: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID:
        raise InvalidRequest(f"an item's id is a string of 1 to {MAX_ID} characters", param=param)
    return value


def checked_vector(value: object, param: str) -> str:
    """base64 or a list of numbers, of any length → base64 of the same; what its norm may be the collection says."""
    with renamed(param):
        return encode_vector(decode_vector(value))


def check_direction(vector: str, param: str) -> None:
    """A vector in a mix counts by its direction. Raises BadVector when it has none."""
    with renamed(param):
        unit(decode_vector(vector))


@contextmanager
def renamed(param: str) -> Iterator[None]:
    """Errors from inside say that they are about `param`."""
    try:
        yield
    except BadInput as error:
        error.param = param
        raise


def _weight(value: object, param: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < abs(value) <= sys.float_info.max:
        raise InvalidRequest("`weight` is a number other than 0", param=param)
    return float(value)
