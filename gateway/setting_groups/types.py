"""What settings of the gateway are made of: lists, folders by name, addresses and hosts, checked as they are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from clip_core.setting_checks import comma_separated, host_names, http_url

MB = 1024 * 1024


def _parsed_roots(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(sign and name.strip() and path.strip() for name, sign, path in pairs):
        raise ValueError("write it as `name=folder,name=folder`")
    return {name.strip(): Path(path.strip()) for name, _, path in pairs}


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    host_names(value, "write a name alone, such as search.lan")
    return value


def _http_urls(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(http_url(url) for url in value)


def _http_url_or_empty(value: str) -> str:
    return http_url(value) if value else value


def _no_folder(value: Path | None) -> Path | None:
    if value is not None and os.path.isdir(value):  # False, too, where it may not look
        raise ValueError(f"{value} is a folder: name a file, such as data/keys.db")
    return value


Words: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]
Numbers: TypeAlias = Annotated[tuple[int, ...], NoDecode, BeforeValidator(comma_separated)]
Roots: TypeAlias = Annotated[dict[str, Path], NoDecode, BeforeValidator(_parsed_roots)]
Hosts: TypeAlias = Annotated[Words, AfterValidator(_hosts)]
Url: TypeAlias = Annotated[str, AfterValidator(http_url)]
UrlOrEmpty: TypeAlias = Annotated[str, AfterValidator(_http_url_or_empty)]
Urls: TypeAlias = Annotated[Words, AfterValidator(_http_urls)]
File: TypeAlias = Annotated[Path | None, AfterValidator(_no_folder)]
