"""The gateway's JSON → the classes of `answers`. A KeyError here means that the other side is no gateway of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from clipserve_client.answers.answers import (
    Alias,
    Collection,
    Health,
    Hit,
    Item,
    ItemResult,
    Job,
    JobFailure,
    Json,
    LabelScore,
    Model,
    Ranked,
    SearchPage,
)
from clipserve_client.errors import ApiError, api_error
from clipserve_client.inputs.pictures import decoded_vector

T = TypeVar("T")


def as_is(answer: Any) -> Json:
    return dict(answer)


def nothing(_: Any) -> None:
    return None


def _known(cls: type[T], told: Mapping[str, Any], **more: Any) -> T:
    """`cls` from those of its fields that were told; unknown ones are left out, so that a newer gateway is read."""
    names = {each.name for each in fields(cls)} - {"raw"}  # type: ignore[arg-type]
    return cls(**{**{name: value for name, value in told.items() if name in names}, **more})


def _with_raw(cls: type[T], told: Mapping[str, Any], **more: Any) -> T:
    return _known(cls, told, raw=dict(told), **more)


def _vector(told: Mapping[str, Any]) -> list[float] | None:
    return decoded_vector(told["vector"]) if told.get("vector") else None


def search_page(answer: Any) -> SearchPage:
    hits = [_known(Hit, hit, vector=_vector(hit)) for hit in answer["hits"]]
    return _with_raw(SearchPage, answer, hits=hits, truncated=bool(answer.get("truncated")))


def search_results(answer: Any) -> list[SearchPage | ApiError]:
    return [search_page(one) if one["status"] < 300 else api_error(one["status"], one) for one in answer["results"]]


def labels(answer: Any) -> list[LabelScore]:
    return [_known(LabelScore, one) for one in answer["labels"]]


def rankings(answer: Any) -> list[list[Ranked]]:
    return [[_known(Ranked, one) for one in result["ranking"]] for result in answer["results"]]


def collection(answer: Any) -> Collection:
    return _with_raw(Collection, answer)


def collections(answer: Any) -> list[Collection]:
    return [collection(one) for one in answer["collections"]]


def facets(answer: Any) -> list[Json]:
    return list(answer["facets"])


def alias(answer: Any) -> Alias:
    return _known(Alias, answer)


def aliases(answer: Any) -> list[Alias]:
    return [alias(one) for one in answer["aliases"]]


def item_results(answer: Any) -> list[ItemResult]:
    return [_known(ItemResult, one) for one in answer["results"]]


def item(answer: Any) -> Item:
    return _known(Item, answer, vector=_vector(answer))


def items_page(answer: Any) -> tuple[list[Item], str | None]:
    return [item(one) for one in answer["items"]], answer.get("next")


def deleted(answer: Any) -> int:
    return int(answer["deleted"])


def job(answer: Any) -> Job:
    return _with_raw(Job, {**answer, **answer["progress"]})


def jobs_page(answer: Any) -> tuple[list[Job], str | None]:
    return [job(one) for one in answer["jobs"]], answer.get("next")


def failures_page(answer: Any) -> tuple[list[JobFailure], int | None]:
    return [_known(JobFailure, one) for one in answer["failures"]], answer.get("next")


def models(answer: Any) -> list[Model]:
    return [_with_raw(Model, one) for one in answer["data"]]


def health(answer: Any) -> Health:
    parts = answer.get("parts") if isinstance(answer, dict) else None
    return Health(isinstance(answer, dict) and answer.get("status") == "ready", dict(parts or {}))
