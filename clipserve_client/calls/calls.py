"""Every call of the gateway's API as data: what to send, whether it may be sent twice, how to read the answer.

`Client` and `AsyncClient` send them; nothing here does any input or output but for reading pictures' files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import clipserve_client.answers.answers as answers
import clipserve_client.answers.reading as reading
from clipserve_client.answers.answers import Json
from clipserve_client.inputs.inputs import CaptionWanted, Content, NewItem, Query, as_content, listed
from clipserve_client.inputs.names import collection_name
from clipserve_client.inputs.pictures import Picture, PictureSource, encoded_picture
from clipserve_client.retries import Repeat

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """`read` makes the answer of its JSON; statuses in `answers` are answers, too."""

    method: str
    path: str
    read: Callable[[Any], T]
    body: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    repeat: Repeat = "safe"
    answers: tuple[int, ...] = ()
    encoded: bytes | None = None  # the body, where it is JSON already

    def content(self) -> bytes | None:
        """The body; NaN and infinity are refused with a ValueError."""
        if self.encoded is not None:
            return self.encoded
        return None if self.body is None else json.dumps(self.body, allow_nan=False, separators=(",", ":")).encode()


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(map(quoted, parts))


def quoted(part: str) -> str:
    """As one segment of a path, also where it is `..`, which URLs would take for the folder above."""
    quoted = quote(part, safe="")
    return quoted.replace(".", "%2E") if part in (".", "..") else quoted


def _collection_path(name: str, *parts: str) -> str:
    """Raises BadName."""
    return _path("collections", collection_name(name), *parts)


def _alias_path(name: str) -> str:
    """Raises BadName."""
    return _path("aliases", collection_name(name))


def _item_path(collection: str, item_id: str) -> str:
    return _collection_path(collection, "items", item_id)


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def plain(method: str, path: str, body: Any = None) -> Call[Any]:
    """Any call, with its JSON as it is. Only reads and PUT may be sent twice."""
    return Call(method, path, lambda answer: answer, body, repeat="safe" if method in ("GET", "PUT") else "unsent")


def classify(
    image: PictureSource | Picture, labels: Sequence[str], templates: Sequence[str] | None
) -> Call[list[answers.LabelScore]]:
    body = {
        "image": encoded_picture(image),
        "labels": listed(labels),
        **_given(templates=templates and listed(templates)),
    }
    return Call("POST", "/v1/classify", reading.labels, body)


def rank(
    queries: Sequence[Content], candidates: Sequence[Content], top_n: int | None
) -> Call[list[list[answers.Ranked]]]:
    asked = {
        "queries": [as_content(each) for each in listed(queries)],
        "candidates": [as_content(each) for each in listed(candidates)],
    }
    return Call("POST", "/v1/rank", reading.rankings, {**asked, **_given(top_n=top_n)})


def search(query: Query) -> Call[answers.SearchPage]:
    return Call("POST", "/v1/search", reading.search_page, query.body())


def search_batch(queries: Sequence[Query]) -> Call[list[Any]]:
    return Call("POST", "/v1/search/batch", reading.search_results, {"searches": [each.body() for each in queries]})


def create_collection(name: str, settings: Mapping[str, Any]) -> Call[answers.Collection]:
    return Call("PUT", _collection_path(name), reading.collection, _given(**settings))


def collection(name: str) -> Call[answers.Collection]:
    return Call("GET", _collection_path(name), reading.collection)


def collections() -> Call[list[answers.Collection]]:
    return Call("GET", "/v1/collections", reading.collections)


def drop_collection(name: str) -> Call[None]:
    return Call("DELETE", _collection_path(name), reading.nothing, repeat="unsent")


def facets(name: str, fields: Sequence[str] | None, values: int, filter_: Json | None) -> Call[list[Json]]:
    params = _given(field=fields and listed(fields), values=values, filter=filter_ and json.dumps(filter_))
    return Call("GET", _collection_path(name, "facets"), reading.facets, params=params)


def score_guidance(name: str) -> Call[answers.ScoreGuidance]:
    return Call("GET", _collection_path(name, "score_guidance"), reading.score_guidance)


def set_alias(name: str, to: str) -> Call[answers.Alias]:
    return Call("PUT", _alias_path(name), reading.alias, {"collection": to})


def aliases() -> Call[list[answers.Alias]]:
    return Call("GET", "/v1/aliases", reading.aliases)


def drop_alias(name: str) -> Call[None]:
    return Call("DELETE", _alias_path(name), reading.nothing, repeat="unsent")


def add(name: str, items: Sequence[NewItem]) -> Call[list[answers.ItemResult]]:
    """May be sent twice: an item replaces the one with its id."""
    return Call("POST", items_path(name), reading.item_results, {"items": [item.body() for item in items]})


def add_encoded(name: str, body: bytes) -> Call[list[answers.ItemResult]]:
    """`body` is {"items": […]} in JSON."""
    return Call("POST", items_path(name), reading.item_results, encoded=body)


def items_path(name: str) -> str:
    """Of a collection's items."""
    return _collection_path(name, "items")


def item(name: str, item_id: str, vector: bool, consistency: str | None = None) -> Call[answers.Item]:
    params = _given(include="vector" if vector else None, consistency=consistency)
    return Call("GET", _item_path(name, item_id), reading.item, params=params)


def items_page(
    name: str, after: str | None, limit: int, filter_: Json | None
) -> Call[tuple[list[answers.Item], str | None]]:
    params = _given(limit=limit, after=after, filter=None if filter_ is None else json.dumps(filter_))
    return Call("GET", items_path(name), reading.items_page, params=params)


def update_item(name: str, item_id: str, metadata: Json | None) -> Call[answers.Item]:
    """May be sent twice: a merge patch that was applied changes nothing more."""
    return Call("PATCH", _item_path(name, item_id), reading.item, {"metadata": metadata})


def update_page(name: str, filter_: Json, metadata: Json | None, after: str | None) -> Call[answers.UpdatedPage]:
    body = {"filter": filter_, "metadata": metadata, **_given(after=after)}
    return Call("PATCH", items_path(name), reading.updated_page, body)


def delete_item(name: str, item_id: str) -> Call[None]:
    return Call("DELETE", _item_path(name, item_id), reading.nothing, repeat="unsent")


def delete_items(name: str, ids: Sequence[str] | None, filter_: Json | None) -> Call[int]:
    body = _given(ids=None if ids is None else listed(ids), filter=filter_)
    return Call("POST", f"{items_path(name)}/delete", reading.deleted, body, repeat="unsent")


def copy_items(name: str, source: str, ids: Sequence[str]) -> Call[list[answers.ItemResult]]:
    """May be sent twice: an item replaces the one with its id."""
    return Call("POST", f"{items_path(name)}/copy", reading.item_results, {"from": source, "ids": list(ids)})


def copy_page(name: str, source: str, filter_: Json, after: str | None) -> Call[tuple[int, str | None]]:
    body = {"from": source, "filter": filter_, **_given(after=after)}
    return Call("POST", f"{items_path(name)}/copy", reading.copied_page, body)


def duplicates_page(name: str, after: str | None, limit: int) -> Call[tuple[list[answers.Duplicate], str | None]]:
    params = _given(limit=limit, after=after)
    return Call("GET", _collection_path(name, "duplicates"), reading.duplicates_page, params=params)


def begin_job(name: str, source: Json, caption: CaptionWanted = False) -> Call[answers.Job]:
    body = {"collection": name, "source": source, **_given(caption=caption or None)}
    return Call("POST", "/v1/jobs", reading.job, body, repeat="unsent")


def job(job_id: str) -> Call[answers.Job]:
    return Call("GET", _path("jobs", job_id), reading.job)


def jobs_page(after: str | None, limit: int) -> Call[tuple[list[answers.Job], str | None]]:
    return Call("GET", "/v1/jobs", reading.jobs_page, params=_given(limit=limit, after=after))


def failures_page(job_id: str, after: int | None, limit: int) -> Call[tuple[list[answers.JobFailure], int | None]]:
    params = _given(limit=limit, after=after)
    return Call("GET", f"{_path('jobs', job_id)}/failures", reading.failures_page, params=params)


def cancel_job(job_id: str) -> Call[answers.Job]:
    return Call("DELETE", _path("jobs", job_id), reading.job, repeat="unsent")


def retry_job(job_id: str) -> Call[answers.Job]:
    return Call("POST", f"{_path('jobs', job_id)}/retry", reading.job, repeat="unsent")


def stats() -> Call[Json]:
    return Call("GET", "/v1/stats", reading.as_is)


def models() -> Call[list[answers.Model]]:
    return Call("GET", "/v1/models", reading.models)


def health() -> Call[answers.Health]:
    return Call("GET", "/readyz", reading.health, answers=(503,))
