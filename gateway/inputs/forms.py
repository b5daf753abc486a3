"""multipart/form-data, also with names as RFC 5987 writes them: `filename*=UTF-8''f%C3%BCr.jpg`.

RFC 7578 forbids that form and python-multipart leaves it out, but Java and .NET clients send it.
"""

from __future__ import annotations

from email.message import Message
from email.utils import collapse_rfc2231_value

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from clip_core.errors import InvalidRequest

MAX_FIELDS = 64


async def read_form(request: Request) -> FormData:
    """To be closed by the caller. Raises InvalidRequest."""
    parser = _Parser(request.headers, request.stream(), max_files=MAX_FIELDS, max_fields=MAX_FIELDS)
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"the form cannot be read: {error.message}") from error


class _Parser(MultiPartParser):
    def on_headers_finished(self) -> None:
        part = self._current_part
        if part.content_disposition is not None and b"*" in part.content_disposition:
            part.content_disposition = plain(part.content_disposition)
        part.content_disposition = _named(part.content_disposition)
        super().on_headers_finished()


def _named(disposition: bytes | None) -> bytes | None:
    """A part `image` is read as a file, also without a name for it: as text its bytes would be changed."""
    _, given = parse_options_header(disposition)
    if disposition is None or given.get(b"name") != b"image" or b"filename" in given:
        return disposition
    return disposition + b'; filename=""'


def plain(disposition: bytes) -> bytes:
    """With `name` and `filename` in UTF-8; the extended form wins over the other (RFC 6266, 4.3)."""
    header = Message()
    header["Content-Disposition"] = disposition.decode("utf-8", "replace")
    given = dict(header.get_params([], "Content-Disposition"))
    said = {name: collapse_rfc2231_value(given[name], "replace") for name in ("name", "filename") if name in given}
    return "; ".join(["form-data", *(f'{name}="{_quoted(value)}"' for name, value in said.items())]).encode(
        "utf-8", "replace"
    )


def _quoted(text: str) -> str:
    """As browsers write names in forms."""
    return text.replace("\\", "%5C").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
