"""The picture of an item: thumbnails, the original; and the folders that a collection's pictures lie in."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from clip_core.errors import NotLocal
from gateway.errors import JsonResponse
from gateway.keys.api_key import current_key
from gateway.pictures.file_response import OriginalResponse
from gateway.pictures.thumbnails import nearest
from gateway.routes.bodies import read_model
from gateway.routes.collections import Name
from gateway.routes.items import ItemId
from gateway.routes.plain_route import BelowItemRoute, StrictRoute
from gateway.schemas.openapi import READS, WRITES, answers, answers_picture, takes
from gateway.schemas.pictures import FolderRequest, FolderTokenAnswer, NamedFolderAnswer
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["items"])
_below_items = APIRouter(route_class=BelowItemRoute, tags=["items"])
_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_FOREVER = "private, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"
_HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox", "Cross-Origin-Resource-Policy": "same-origin"}
_ITEM = "/v1/collections/{name}/items/{item_id:path}"
Digest = Annotated[
    str | None, Query(description="The item's `digest`: with it the answer may be kept for ever.", examples=["6f1c"])
]


@_below_items.get(f"{_ITEM}/thumbnail", response_class=Response, responses=answers_picture())
async def show_thumbnail(
    request: Request,
    name: Name,
    item_id: ItemId,
    size: Annotated[int, Query(ge=1, le=65536, description="Pixels of the longer side.", examples=[256])] = 256,
    digest: Digest = None,
) -> Response:
    """The item's picture as WebP: of 256 pixels, or of 768 for any larger size; 304 where it is still the same."""
    given = services(request)
    item = await given.index.item(name, item_id, {})
    shown = await given.pictures.thumbnail(name, item, nearest(size))
    headers = _headers(shown.version, f"{shown.version}-{nearest(size)}", digest)
    if _is_known(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(shown.content, media_type="image/webp", headers=headers)


@_below_items.get(f"{_ITEM}/picture", response_class=Response, responses=answers_picture())
async def show_picture(request: Request, name: Name, item_id: ItemId, digest: Digest = None) -> Response:
    """The item's picture as it is: a file of the collection's folders, or the copy that was kept."""
    given = services(request)
    item = await given.index.item(name, item_id, {})
    original = await given.pictures.original(name, item)
    headers = _headers(original.version, original.version, digest)
    if _is_known(request, headers):
        return Response(status_code=304, headers=headers)
    return OriginalResponse(original.path, media_type=original.media_type, headers=headers)


def _headers(version: str, tag: str, digest: str | None) -> dict[str, str]:
    return {**_HEADERS, "ETag": f'"{tag}"', "Cache-Control": _FOREVER if digest == version else _ASK_AGAIN}


def _is_known(request: Request, headers: dict[str, str]) -> bool:
    """RFC 9110, 13.1.2: any of the client's tags, weak ones too."""
    given = request.headers.get("if-none-match", "")
    return headers["ETag"] in [tag.strip().removeprefix("W/") for tag in given.split(",")]


@router.get("/v1/collections/{name}/folders", responses=answers(FolderTokenAnswer, *READS))
async def how_to_name_a_folder(request: Request, name: Name) -> JsonResponse:
    """The file whose content a caller on this machine must send to name a folder; needs `write` too, as that does."""
    current_key().check_scope("write")
    _check_local(request)
    given = services(request)
    await given.index.describe(name)
    token_file = await asyncio.to_thread(given.pictures.folders.token_file)
    return JsonResponse({"token_file": None if token_file is None else str(token_file)})


@router.post(
    "/v1/collections/{name}/folders", responses=answers(NamedFolderAnswer, *WRITES), openapi_extra=takes(FolderRequest)
)
async def name_folder(request: Request, name: Name) -> JsonResponse:
    """Show pictures from this folder: of items whose id begins with `prefix`, the files that they were made from."""
    given, wanted = services(request), await read_model(request, FolderRequest)
    await given.index.describe(name)
    folders = given.pictures.folders
    await asyncio.to_thread(folders.add, name, wanted.prefix, wanted.folder, wanted.token)
    return JsonResponse({"folders": len(folders.of(name))})


def _check_local(request: Request) -> None:
    """Raises NotLocal for callers elsewhere, also where a proxy on this machine passes their requests on."""
    passed_on = any(name in request.headers for name in _OF_PROXIES)
    if passed_on or not _is_loopback(request.client.host if request.client else ""):
        raise NotLocal("only a caller on the gateway's machine may know where its data folder is")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


router.routes.extend(_below_items.routes)
