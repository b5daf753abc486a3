"""The gateway's JSON → the classes of `answers`. A KeyError here means that the other side is no gateway of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Protocol, TypeVar

import clipserve_client.answers.answers as answers
from clipserve_client.answers.answers import Json
from clipserve_client.errors import ApiError, api_error
from clipserve_client.inputs.pictures import decoded_vector


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=_Dataclass)


def oddity(error: Exception) -> str:
    """Why JSON is not what it should be, of an error that reading it raised."""
    if isinstance(error, KeyError):
        return f"`{error.args[0]}` is missing"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, ValueError) else "a value is of another kind than it should be"


def as_is(answer: Any) -> Json:
    return dict(answer)


def nothing(_: Any) -> None:
    return None


def _known(cls: type[T], told: Mapping[str, Any], **more: Any) -> T:
    """`cls` from those of its fields that were told; unknown ones are left out, so that a newer gateway is read."""
    names = {each.name for each in fields(cls)} - {"raw"}
    return cls(**{**{name: value for name, value in told.items() if name in names}, **more})


def _with_raw(cls: type[T], told: Mapping[str, Any], **more: Any) -> T:
    return _known(cls, told, raw=dict(told), **more)


def _vector(told: Mapping[str, Any]) -> list[float] | None:
    return decoded_vector(told["vector"]) if told.get("vector") else None


def search_page(answer: Any) -> answers.SearchPage:
    hits = [_known(answers.Hit, hit, vector=_vector(hit)) for hit in answer["hits"]]
    return _with_raw(answers.SearchPage, answer, hits=hits, truncated=bool(answer.get("truncated")))


def search_results(answer: Any) -> list[answers.SearchPage | ApiError]:
    return [search_page(one) if one["status"] < 300 else api_error(one["status"], one) for one in answer["results"]]


def labels(answer: Any) -> list[answers.LabelScore]:
    return [_known(answers.LabelScore, one) for one in answer["labels"]]


def rankings(answer: Any) -> list[list[answers.Ranked]]:
    return [[_known(answers.Ranked, one) for one in result["ranking"]] for result in answer["results"]]


def collection(answer: Any) -> answers.Collection:
    return _with_raw(answers.Collection, answer)


def collections(answer: Any) -> list[answers.Collection]:
    return [collection(one) for one in answer["collections"]]


def facets(answer: Any) -> list[Json]:
    return list(answer["facets"])


def score_guidance(answer: Any) -> answers.ScoreGuidance:
    return _with_raw(answers.ScoreGuidance, answer)


def alias(answer: Any) -> answers.Alias:
    return _known(answers.Alias, answer)


def aliases(answer: Any) -> list[answers.Alias]:
    return [alias(one) for one in answer["aliases"]]


def item_results(answer: Any) -> list[answers.ItemResult]:
    return [_known(answers.ItemResult, one) for one in answer["results"]]


def item(answer: Any) -> answers.Item:
    return _known(answers.Item, answer, vector=_vector(answer))


def items_page(answer: Any) -> tuple[list[answers.Item], str | None]:
    return [item(one) for one in answer["items"]], answer.get("next")


def updated_page(answer: Any) -> answers.UpdatedPage:
    failed = [_known(answers.ItemResult, one) for one in answer["failed"]]
    return answers.UpdatedPage(int(answer["updated"]), failed, answer.get("next"))


def copied_page(answer: Any) -> tuple[int, str | None]:
    return int(answer["copied"]), answer.get("next")


def duplicates_page(answer: Any) -> tuple[list[answers.Duplicate], str | None]:
    return [_known(answers.Duplicate, one) for one in answer["groups"]], answer.get("next")


def deleted(answer: Any) -> int:
    return int(answer["deleted"])


def job(answer: Any) -> answers.Job:
    return _with_raw(answers.Job, {**answer, **answer["progress"]})


def jobs_page(answer: Any) -> tuple[list[answers.Job], str | None]:
    return [job(one) for one in answer["jobs"]], answer.get("next")


def failures_page(answer: Any) -> tuple[list[answers.JobFailure], int | None]:
    return [_known(answers.JobFailure, one) for one in answer["failures"]], answer.get("next")


def models(answer: Any) -> list[answers.Model]:
    return [_with_raw(answers.Model, one) for one in answer["data"]]


def health(answer: Any) -> answers.Health:
    parts = answer.get("parts") if isinstance(answer, dict) else None
    return answers.Health(isinstance(answer, dict) and answer.get("status") == "ready", dict(parts or {}))
