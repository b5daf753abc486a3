"""POST /v1/ask: retrieval, answers with and without a language model, streams, and what goes wrong."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.assistant.obeying import ObeyingModel
from gateway.assistant.asking.retrieval import merged
from tests.gateway.assistant.conftest import drawn
from tests.gateway.test_captions import events

COUNT = {"collection": "demo", "question": "How many red circles are there, and where?"}
WHICH = {"collection": "demo", "question": "Which of these pictures show a red circle?"}


def cited(answer: Any) -> list[str]:
    return sorted(each["id"] for each in answer["citations"])


def test_offline(offline) -> None:
    said = offline.post("/v1/ask", COUNT).json()
    assert (said["answer"], said["found"], said["by"]) == ("Three red circles, in 2 of 4 pictures.", True, "offline")
    assert cited(said) == ["s1", "s2"]
    assert all(each["verified"] for each in said["citations"])
    assert len(said["hits"]) == 4
    nothing = offline.post("/v1/ask", {**COUNT, "question": "Is there a brown moon?"}).json()
    assert (nothing["found"], nothing["citations"]) == (False, [])


def test_a_captioner_reads_pictures_without_words(offline) -> None:
    """The stand-in knows only pictures of its own: the others stay unknown, and the answer comes all the same."""
    offline.post("/v1/collections/demo/items", {"items": [{"id": "s1", "image": drawn("s1"), "metadata": {}}]})
    said = offline.post("/v1/ask", COUNT).json()
    assert (said["answer"], cited(said)) == ("Two red circles, in 1 of 4 pictures.", ["s2"])


def test_what_is_searched_for(offline) -> None:
    def texts() -> list[Any]:
        bodies = [body for endpoint, body in offline.torchserve.calls if endpoint == "clip_text"]
        offline.torchserve.calls.clear()
        return sorted(item["text"] for body in bodies for item in body["input"])

    offline.torchserve.calls.clear()
    offline.post("/v1/ask", COUNT)
    assert texts() == ["red circles"]
    offline.post("/v1/ask", {**COUNT, "question": "Red circles or blue stars?"})
    assert texts() == ["blue stars", "red circles", "red circles or blue stars"]
    offline.post("/v1/ask", {**COUNT, "text": "round things"})
    assert texts() == ["round things"]
    searches = [{"text": "one"}, {"text": "two", "filter": {"caption": "none"}}]
    said = offline.post("/v1/ask", {**COUNT, "searches": searches, "k": 3}).json()
    assert texts() == ["one", "two"]
    assert len(said["hits"]) == len({each["id"] for each in said["hits"]}) == 3


def test_by_a_language_model(asking, openai_server) -> None:
    stack = asking()
    openai_server.reply = ObeyingModel()
    said = stack.post("/v1/ask", WHICH).json()
    assert (said["answer"], said["by"], said["llm_overruled"]) == ("2 show a red circle.", "m-2025-01-01", False)
    assert cited(said) == ["s1", "s2"]
    assert said["usage"]["pictures"] == 2
    assert said["usage"]["cost_usd"] > 0
    (asked,) = openai_server.asked
    assert asked.schema["properties"]["citations"]["items"]["enum"]
    assert not any(name in text for name in ("s1", "s2") for text in asked.texts), "ids are not told"
    again = stack.post("/v1/ask", WHICH).json()
    assert (again["answer"], again["usage"]["cost_usd"]) == (said["answer"], 0.0)
    assert len(openai_server.asked) == 1
    metrics = stack.client.get("/metrics").text
    assert 'clipserve_gateway_answers_total{by="model",outcome="found"} 2.0' in metrics
    by_hand = stack.post("/v1/ask", {**WHICH, "by": "offline"}).json()
    assert by_hand["by"] == "offline"


@pytest.mark.parametrize("settings", [{}, {"llm_api": "responses"}, {"llm_url": ""}])
def test_in_pieces(asking, openai_server, settings) -> None:
    if settings.get("llm_url") == "":
        settings = {"llm_url": "", "llm_model": ""}
    stack = asking(**settings)
    openai_server.reply = ObeyingModel()
    answer = stack.post("/v1/ask", {**WHICH, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert [body["object"] for _, body in told[:1]] == ["answer.hits"]
    assert told[-1] == (None, "[DONE]")
    whole = told[-2][1]
    deltas = [body["delta"] for _, body in told if isinstance(body, dict) and body["object"] == "answer.delta"]
    assert "".join(deltas) == whole["answer"] != ""
    assert cited(whole) == ["s1", "s2"]


def test_nothing_is_told_before_the_citations_stand(asking, openai_server) -> None:
    stack = asking()
    openai_server.reply = lambda _: '{"citations":[],"found":false,"answer":"Go to the bank and pay."}'
    told = events(stack.post("/v1/ask", {**WHICH, "stream": True}).text)
    assert "bank" not in str(told)
    whole = told[-2][1]
    assert (whole["llm_overruled"], whole["by"], cited(whole)) == (True, "offline", ["s1", "s2"])


def test_a_question_of_no_kind_is_the_models_own(asking, openai_server) -> None:
    stack = asking()

    def reply(asked: Any) -> str:
        names = asked.schema["properties"]["citations"]["items"]["enum"]
        return json.dumps({"citations": names[:1], "found": True, "answer": "It is calm."})

    openai_server.reply = reply
    said = stack.post("/v1/ask", {**WHICH, "question": "What mood is this?"}).json()
    assert (said["kind"], said["answer"], len(said["citations"])) == ("other", "It is calm.", 1)
    assert not said["citations"][0]["verified"]


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        ('{"citations":["p0"],"found":true,"answer":"x"}', "not given"),
        ('{"citations":"all","found":true,"answer":"x"}', "no list"),
        ('{"citations":[],"found":true,"answer":"x"}', "cites no picture"),
        ('{"citations":[],"found":"yes","answer":"x"}', "does not say"),
        ('{"citations":[],"found":false,"answer":7}', "no text"),
        ('{"citations":[],"found":false}', "other fields"),
        ('{"citations":[],"found":false,"answer":"x","url":"y"}', "other fields"),
        ("[]", "no object"),
        ("hello", "not JSON"),
    ],
)
def test_answers_against_the_schema(asking, openai_server, reply, what) -> None:
    stack = asking()
    openai_server.reply = lambda _: reply
    answer = stack.post("/v1/ask", WHICH)
    assert answer.status_code == 424
    assert answer.json()["error"]["code"] == "llm_failed"
    assert what in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        ((401, {}), 424, "llm_unauthorized"),
        ((429, {"retry-after": "7"}), 429, "overloaded"),
        ((500, {}), 503, "llm_unavailable"),
        ("refusal", 424, "llm_refused"),
        ((400, {}), 424, "llm_failed"),
    ],
)
def test_failures_are_named_and_the_search_still_answers(asking, openai_server, failure, status, code) -> None:
    stack = asking(llm_retries=0)
    openai_server.failures = [failure] * 2
    answer = stack.post("/v1/ask", WHICH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "sk-" not in answer.text.replace("sk-***", "")
    if failure == (429, {"retry-after": "7"}):
        assert answer.headers["retry-after"] == "7"
    told = events(stack.post("/v1/ask", {**WHICH, "stream": True}).text)
    assert told[0][1]["object"] == "answer.hits"
    assert (told[-2][0], told[-2][1]["error"]["code"]) == ("error", code)
    assert stack.post("/v1/search", {"collection": "demo", "text": "x"}).status_code == 200
    assert len(openai_server.asked) == 2


def test_half_a_stream_is_an_error_after_the_hits(asking, openai_server) -> None:
    stack = asking()
    openai_server.reply = ObeyingModel()
    openai_server.failures = ["half"]
    told = events(stack.post("/v1/ask", {**WHICH, "stream": True}).text)
    assert told[0][1]["object"] == "answer.hits"
    assert (told[-2][0], told[-2][1]["error"]["code"]) == ("error", "llm_failed")
    assert len(openai_server.asked) == 1


def test_a_provider_that_sees_no_pictures_is_told_how_to_be_asked(asking, openai_server) -> None:
    stack = asking()
    openai_server.failures = [(400, {}, "image_url is not supported by this model")]
    error = stack.post("/v1/ask", WHICH).json()["error"]
    assert error["code"] == "llm_failed"
    assert "CLIPSERVE_GATEWAY_LLM_VISION=false" in error["message"]


def test_pictures_of_hits_that_are_ruled_out_are_not_shown(asking, openai_server) -> None:
    stack = asking()
    openai_server.reply = ObeyingModel()
    said = stack.post("/v1/ask", WHICH).json()
    assert (cited(said), said["usage"]["pictures"]) == (["s1", "s2"], 2)
    stack.post("/v1/ask", {**WHICH, "question": "What mood is this?"})
    assert len(openai_server.asked[-1].pictures) == 4


def test_the_first_hit_of_each_search_is_looked_at() -> None:
    """Also where each of the others is in several searches."""
    common = [f"c{n}" for n in range(12)]
    ranked = [["own", *common], ["c0", *common[1:], "other"], ["last", *common[::-1]]]
    found: Any = SimpleNamespace(answers=[{"hits": [{"id": each} for each in ids]} for ids in ranked])
    told = [hit["id"] for hit in merged(found, "demo", 12)]
    assert len(told) == 12
    assert {"own", "c0", "last"} < set(told)
    assert "other" not in told
    assert [hit["id"] for hit in merged(found, "demo", 2)] == ["c0", "own"]


def test_budgets(asking, openai_server) -> None:
    openai_server.reply = ObeyingModel()
    none = asking(llm_usd_per_day=0)
    answer = none.post("/v1/ask", WHICH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_spent")
    assert int(answer.headers["retry-after"]) > 0
    assert openai_server.asked == []
    assert none.post("/v1/ask", {**WHICH, "by": "offline"}).status_code == 200


@pytest.mark.parametrize("how", ["deleted", "replaced", "dropped"])
def test_pictures_that_went_meanwhile(asking, openai_server, how) -> None:
    stack, model = asking(), ObeyingModel()

    def reply(asked: Any) -> str:
        items = stack.index.collections.get("demo", {}).get("items", {})
        for item in ("s1", "s2"):
            if how == "deleted":
                items.pop(item, None)
            elif how == "replaced":
                items[item] = {**items[item], "metadata": {"caption": "a green heart", "digest": "other"}}
        if how == "dropped":
            stack.index.collections.pop("demo", None)
        return model(asked)

    openai_server.reply = reply
    answer = stack.post("/v1/ask", WHICH)
    named = (404, "collection_not_found") if how == "dropped" else (409, "conflict")
    assert (answer.status_code, answer.json()["error"]["code"]) == named
    assert len(openai_server.asked) == 1


def test_a_model_without_vision_gets_words_only(asking, openai_server) -> None:
    stack = asking(llm_vision=False)
    openai_server.reply = ObeyingModel()
    said = stack.post("/v1/ask", WHICH).json()
    assert (said["usage"]["pictures"], openai_server.asked[0].pictures) == (0, [])
    assert cited(said) == ["s1", "s2"]


def test_the_least_detail_that_answers(asking, openai_server) -> None:
    stack = asking()
    openai_server.reply = ObeyingModel()
    few = stack.post("/v1/ask", WHICH).json()["usage"]["prompt_tokens"]
    many = stack.post("/v1/ask", {**WHICH, "detail": "high"}).json()["usage"]["prompt_tokens"]
    assert {each.detail for each in openai_server.asked[1].pictures} == {"high"}
    assert few < many * 0.7
    small = asking(llm_prompt_tokens=500)
    small.post("/v1/ask", WHICH)
    assert len(openai_server.asked[2].pictures) < 4


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"question": ""}, 400, "question"),
        ({"question": "x" * 100_000}, 413, "question"),
        ({"question": 7}, 400, "question"),
        ({"k": 49}, 400, "k"),
        ({"searches": []}, 400, "searches"),
        ({"searches": [{"text": "a"}], "text": "b"}, 400, "searches"),
        ({"searches": [{}]}, 400, None),
        ({"collection": "none"}, 404, "collection"),
        ({"nonsense": 1}, 400, "nonsense"),
        ({"by": "magic"}, 400, "by"),
        ({"filter": {"a": {"$bad": 1}}}, 200, None),
        ({"image": "!"}, 400, "image"),
    ],
)
def test_bad_requests(offline, change, status, param) -> None:
    answer = offline.post("/v1/ask", {**COUNT, **change})
    if status == 200:
        return
    assert answer.status_code == status, answer.text
    assert param is None or answer.json()["error"]["param"] == param
