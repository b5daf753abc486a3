"""The web page, its assets, the dashboard, the docs page, and the pictures that hits show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from clip_core.errors import NotFound
from gateway.inputs.assets import Assets
from gateway.inputs.files import first_picture
from gateway.services import services

router = APIRouter(include_in_schema=False)
UI = Path(__file__).parent.parent / "ui"
_FILES = Assets(UI)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:{hosts}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
_PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=300",
}


@router.get("/")
async def page(request: Request) -> Response:
    """The search page."""
    return await asset(request, "index.html")


@router.get("/dashboard")
async def dashboard(request: Request) -> Response:
    """What this gateway did in the last hour."""
    return await asset(request, "dashboard/dashboard.html")


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
    answer = _FILES.answer(path, request.headers)
    answer.headers.update(_PAGE_HEADERS)
    answer.headers["Content-Security-Policy"] = page_policy(services(request).settings.image_hosts)
    return answer


def page_policy(image_hosts: Sequence[str]) -> str:
    """Scripts of our own only, and pictures of our own and of these hosts, over https."""
    hosts = ["https:" if host == "*" else f"https://{host}" for host in image_hosts]
    return _POLICY.format(hosts="".join(f" {host}" for host in hosts))


@router.get("/images/{collection}/{path:path}")
def image(request: Request, collection: str, path: str) -> FileResponse:
    """A picture below the folder that `image_roots` names for the collection."""
    folders = services(request).pictures.folders.of(collection)
    if not folders:
        raise NotFound("this collection has no folder of pictures")
    return FileResponse(first_picture([folder.path for folder in folders], path), headers=_PICTURE_HEADERS)
