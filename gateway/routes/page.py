"""The web page, its assets, the docs page, and the pictures that hits show."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from clip_core.errors import NotFound
from gateway.inputs.files import picture
from gateway.services import services

router = APIRouter(include_in_schema=False)
UI = Path(__file__).parent.parent / "ui"
_FILES = StaticFiles(directory=UI, check_dir=False)
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
async def page(request: Request) -> Response:
    """The search page."""
    return await asset(request, "index.html")


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The API reference, drawn from /openapi.json without any outside script."""
    return await asset(request, "docs.html")


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    return await asset(request, "icon.svg")


@router.get("/ui/{path:path}")
async def asset(request: Request, path: str) -> Response:
    """Scripts, styles and icons; 304 where the browser's copy is still the same."""
    answer = await _FILES.get_response(path, request.scope)
    answer.headers.update(_PAGE_HEADERS)
    return answer


@router.get("/images/{collection}/{path:path}")
def image(request: Request, collection: str, path: str) -> FileResponse:
    """A picture below the folder that `image_roots` names for the collection."""
    root = services(request).settings.image_roots.get(collection)
    if root is None:
        raise NotFound("this collection has no folder of pictures")
    return FileResponse(picture(root, path), headers=_PICTURE_HEADERS)
