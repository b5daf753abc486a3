"""Questions about pictures: the call, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from clipserve_client.answers.answers import Answer, Citation, Json
from clipserve_client.calls.calls import Call
from clipserve_client.inputs.pictures import Picture, PictureSource, encoded_picture


class AskOptions(TypedDict, total=False):
    """What is left out has the gateway's default; see its documentation on asking."""

    text: str
    filter: Json
    searches: Sequence[Json]
    k: int
    detail: str
    by: str
    model: str


def ask(question: str, collection: str, image: PictureSource | Picture | None, options: AskOptions) -> Call[Answer]:
    """Not sent again once it was sent: an answer may cost money."""
    body: Json = {"question": question, "collection": collection, **options}
    if image is not None:
        body["image"] = encoded_picture(image)
    return Call("POST", "/v1/ask", _answer, body, repeat="unsent")


def _answer(told: Any) -> Answer:
    cited = [Citation(each["id"], each["collection"], each["caption"], each["verified"]) for each in told["citations"]]
    return Answer(told["answer"], told["found"], told["kind"], told["by"], cited, raw=told)
