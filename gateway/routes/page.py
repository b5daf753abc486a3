"""The web page, its assets, the docs page, and the pictures that hits show."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse

from clip_core.errors import NotFound
from gateway.inputs.files import inside, picture
from gateway.services import services

router = APIRouter(include_in_schema=False)
UI = Path(__file__).parent.parent / "ui"
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=300",
}


@router.get("/")
def page() -> FileResponse:
    """The search page."""
    return FileResponse(UI / "index.html", headers=_PAGE_HEADERS)


@router.get("/docs")
def docs() -> FileResponse:
    """The API reference, drawn from /openapi.json without any outside script."""
    return FileResponse(UI / "docs.html", headers=_PAGE_HEADERS)


@router.get("/favicon.ico")
def favicon() -> FileResponse:
    return FileResponse(UI / "icon.svg", headers=_PAGE_HEADERS)


@router.get("/ui/{path:path}")
def asset(path: str) -> FileResponse:
    """Scripts, styles and icons."""
    return FileResponse(inside(UI, path), headers=_PAGE_HEADERS)


@router.get("/images/{collection}/{path:path}")
def image(request: Request, collection: str, path: str) -> FileResponse:
    """A picture below the folder that `image_roots` names for the collection."""
    root = services(request).settings.image_roots.get(collection)
    if root is None:
        raise NotFound("this collection has no folder of pictures")
    return FileResponse(picture(root, path), headers=_PICTURE_HEADERS)
