"""The captioner's handler as TorchServe's continuous batching calls it, without TorchServe."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Memory
from clip_core.captions.memories import Memories
from clip_core.captions.scheduler import Scheduler
from clip_core.errors import BadModel
from clip_core.model_spec import CANARIES_FILE
from clip_core.serving.admin import Admin
from clip_core.serving.captions import canaries
from clip_core.serving.captions.request import ACCEPTS
from clip_core.speculation.pace import DraftPace, PassCosts, always
from gateway.upstream.caption_replies import caption_reply
from handlers.caption_handler import CaptionHandler
from scripts.archive.build import stage_folder
from tests.captioners import pictures, write_captioner
from tests.clip_core.test_batch_handler import FakeContext

HTTP = {"Host": "localhost", "Content-Type": "application/json"}
CONFIG: dict[str, Any] = {
    "threads": 1,
    "continuousBatching": True,
    "caption_max_sequences": 4,
    "caption_max_waiting": 2,
}
GREEDY: dict[str, Any] = {"method": "greedy", "max_tokens": 24, "min_tokens": 20}


def png(place: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pictures(8)[place].permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


def write_talkative(folder: Path, **text: Any) -> Path:
    """A captioner that never says the padding token, which would end its captions early."""
    path = write_captioner(folder, **text) / "open_clip_model.safetensors"
    weights = load_file(path)
    weights["text_decoder.text_projection"][:, 0] = 0
    save_file(weights, path)
    return folder


def body(place: int, stream: bool = False, **caption: Any) -> bytes:
    picture = base64.b64encode(png(place)).decode()
    return json.dumps({"image": picture, "caption": {**GREEDY, **caption}, "stream": stream}).encode()


@dataclass
class Client:
    """One request as its sender sees it. `status` is None until something comes."""

    sent: bytes
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    status: int | None = None
    ended: bool = False
    cached: bool = False
    kind: str = ""

    @property
    def json(self) -> Any:
        return json.loads(b"".join(self.chunks))

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(self.chunks).splitlines()]


class FakeTorchServe:
    """Continuous batching as version 0.12 does it: every call brings all open requests, their bodies once."""

    def __init__(self, handler: CaptionHandler, folder: Path) -> None:
        self.handler, self.folder = handler, folder
        self.open: dict[str, Client] = {}
        self.count = 0

    def send(self, sent: bytes, **headers: str) -> Client:
        self.count += 1
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        client = Client(sent, {} if given == {"grpc": "yes"} else {**HTTP, **given})
        self.open[f"request-{self.count}"] = client
        return client

    def leave(self, client: Client) -> None:
        self.open = {id: each for id, each in self.open.items() if each is not client}

    def call(self) -> None:
        ids, clients = list(self.open), list(self.open.values())
        context = FakeContext(self.folder, [each.headers for each in clients])
        context.request_ids = dict(enumerate(ids))
        answers = self.handler.handle([{} if each.cached else {"body": each.sent} for each in clients], context)
        assert len(answers) == len(clients)
        for index, id in context.request_ids.items():
            self._pass_on(self.open[id], index, answers[index], context)
        self.open = {id: each for id, each in self.open.items() if not each.ended}

    def _pass_on(self, client: Client, index: int, answer: bytes, context: FakeContext) -> None:
        assert not (client.cached and index in context.statuses), "the status was sent before"
        client.chunks.append(answer)
        client.status = client.status or context.statuses.get(index, 200)
        client.kind = context.sent[index, "content-type"]
        criteria = context.stopping_criteria
        more = criteria[index](answer) if criteria is not None else None
        assert more is not False or "Host" in client.headers, "a gRPC client would be taken for gone"
        assert more is not None or "Host" in client.headers or criteria is None, "a gRPC call waits for a word"
        assert more is not True or client.cached or "Host" not in client.headers, "the last of a stream has a first"
        client.ended = more is not False
        client.cached = True

    def run(self) -> None:
        for _ in range(200):
            if not self.open:
                return
            self.call()
        raise AssertionError("it never ends")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a captioner's archive holds."""
    checkpoint = write_talkative(tmp_path_factory.mktemp("captioner"))
    staged = tmp_path_factory.mktemp("staged")
    stage_folder(str(checkpoint), "caption", staged, captioner_compile=False)
    return staged / "files"


def started(folder: Path, **config: Any) -> CaptionHandler:
    handler = CaptionHandler()
    handler.initialize(FakeContext(folder, [], {**CONFIG, **config}))
    return handler


@pytest.fixture(scope="module")
def handler(folder: Path) -> CaptionHandler:
    return started(folder)


@pytest.fixture
def served(handler: CaptionHandler, folder: Path) -> Iterator[FakeTorchServe]:
    yield FakeTorchServe(handler, folder)
    handler.batch.leave_only(frozenset())


def expected(handler: CaptionHandler, place: int, **settings: Any) -> str:
    """By the core alone."""
    scheduler = Scheduler(handler.scheduler.captioner)
    scheduler.add("0", pictures(8)[place], CaptionAsk(**{**GREEDY, **settings}))
    events = scheduler.run(100)
    captions = events[-1].captions
    assert captions
    return captions[0].text


def test_a_plain_request_gets_one_plain_answer(served: FakeTorchServe, handler: CaptionHandler) -> None:
    client = served.send(body(0))
    served.call()
    assert client.chunks == [], "nothing is told of what has no status yet"
    served.run()
    assert (client.status, client.kind, len(client.chunks)) == (200, "application/json", 1)
    answer = client.json
    assert answer["captions"][0]["text"] == expected(handler, 0)
    assert answer["captions"][0]["tokens"] == answer["usage"]["caption_tokens"] > 4
    assert answer["usage"]["image_tokens"] == 16
    assert answer["fingerprint"] == handler.scheduler.captioner.fingerprint
    assert set(answer["timing"]) == {"queue_ms", "caption_ms"}


def test_a_stream_tells_words_as_they_come(served: FakeTorchServe, handler: CaptionHandler) -> None:
    client, plain = served.send(body(1, stream=True, prompt="a photo of")), served.send(body(1))
    served.call()
    assert client.chunks, "it is told at once that its request was taken"
    served.run()
    *deltas, last = client.lines
    assert (client.status, client.kind, last["done"]) == (200, "application/x-ndjson", True)
    assert len(deltas) > 2
    assert "".join(each["delta"] for each in deltas) == last["captions"][0]["text"]
    assert last["usage"]["prompt_tokens"] == 3
    assert plain.json["captions"][0]["text"] == expected(handler, 1)


def test_a_call_of_long_steps_has_few(
    served: FakeTorchServe, handler: CaptionHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, tokens in ((60.0, handler.config.caption_call_tokens), (0.0, 1)):
        monkeypatch.setattr(handler.batch, "call_s", seconds)
        client, made = served.send(body(1)), handler.scheduler.tokens_total
        served.call()
        assert handler.scheduler.tokens_total - made == tokens
        served.run()
        assert client.json["captions"][0]["text"] == expected(handler, 1)


def test_a_caption_that_is_ready_ends_its_call(
    served: FakeTorchServe, handler: CaptionHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client need not wait for the steps of the others."""
    monkeypatch.setattr(handler.batch, "call_s", 60.0)
    made = []
    for seconds in (60.0, 0.0):
        monkeypatch.setattr(handler.batch, "ready_s", seconds)
        before = handler.scheduler.tokens_total
        short, long = served.send(body(1, max_tokens=7, min_tokens=0)), served.send(body(2))
        while short.status is None:
            served.call()
        made.append(handler.scheduler.tokens_total - before)
        served.run()
        assert long.json["captions"][0]["text"] == expected(handler, 2)
    assert made[1] < made[0]


def test_bad_requests_have_a_status_of_their_own_and_spoil_nobody(
    served: FakeTorchServe, handler: CaptionHandler
) -> None:
    good = [served.send(body(place)) for place in (2, 3)]
    broken = json.dumps({"image": base64.b64encode(png(0)[:90]).decode(), "stream": True}).encode()
    bad = {
        "image": served.send(broken),
        "max_tokens": served.send(body(0, max_tokens=10**6)),
        "min_tokens": served.send(body(0, min_tokens=24)),
        "prompt": served.send(body(0, prompt="word " * 40)),
        "colour": served.send(body(0, colour="red")),
    }
    nothing = served.send(b'{"caption": {}}')
    url = served.send(b'{"image": "https://elsewhere.example/a.png"}')
    page = served.send(body(0), Origin="http://elsewhere.example")
    served.run()
    assert {name: (each.status, each.json["error"]["param"]) for name, each in bad.items()} == {
        name: (400, name) for name in bad
    }
    assert (nothing.status, page.status) == (400, 403)
    assert (url.status, url.json["error"]["param"]) == (400, "image")
    assert [each.json["captions"][0]["text"] for each in good] == [expected(handler, place) for place in (2, 3)]


def test_a_picture_that_memory_is_short_for_spoils_no_other(
    served: FakeTorchServe, handler: CaptionHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, tries = handler.scheduler.captioner, list[int]()
    transform = captioner.transform

    def short(image: Image.Image) -> torch.Tensor:
        tries.append(1)
        if len(tries) == 1:
            raise MemoryError
        return transform(image)

    with monkeypatch.context() as patched:
        patched.setattr(captioner, "transform", short)
        clients = [served.send(body(place)) for place in (2, 3)]
        served.run()
    assert sorted(each.status for each in clients) == [200, 424]


def test_whoever_leaves_frees_the_caches_by_the_next_call(served: FakeTorchServe, handler: CaptionHandler) -> None:
    leaving, staying = served.send(body(0, stream=True)), served.send(body(1, stream=True))
    served.call()
    assert handler.scheduler.live_rows == 2
    served.leave(leaving)
    served.call()
    assert handler.scheduler.live_rows == 1
    handler._called = time.monotonic() - 2
    handler._forget_abandoned()
    assert (handler.scheduler.live_rows, handler.scheduler.cache_bytes) == (0, 0)
    served.call()
    assert handler.scheduler.live_rows == 1, "it was only paused"
    served.leave(staying)
    handler._called = -10.0
    handler._forget_abandoned()
    assert (handler.scheduler.live_rows, handler.scheduler.cache_bytes) == (0, 0)


def test_more_than_there_is_room_for_waits_and_then_gets_429(served: FakeTorchServe) -> None:
    clients = [served.send(body(place % 8, stream=place == 8)) for place in range(9)]
    served.run()
    assert [each.status for each in clients] == [200] * 6 + [429] * 3
    assert clients[6].json["error"]["code"] == "overloaded"
    later = served.send(body(0))
    served.run()
    assert later.status == 200


def test_texts_are_scored_at_once(served: FakeTorchServe, handler: CaptionHandler) -> None:
    picture = base64.b64encode(png(0)).decode()
    client = served.send(json.dumps({"image": picture, "score": ["a red circle", "a dog"]}).encode())
    long = served.send(json.dumps({"image": picture, "score": ["a dog", "word " * 90]}).encode())
    empty = served.send(json.dumps({"image": picture, "score": ["a dog", " "]}).encode())
    served.call()
    captioner = handler.scheduler.captioner
    scores = captioner.score(captioner.remember(pictures(1))[0], ["a red circle", "a dog"])
    assert [each["logprob"] for each in client.json["scores"]] == pytest.approx(scores, abs=1e-4)
    assert [each["tokens"] for each in client.json["scores"]] == [4, 3]
    for refused in (long, empty):
        assert (refused.status, refused.json["error"]["param"]) == (400, "score[1]")


def test_grpc_calls_get_one_piece_and_a_word_that_it_is_the_last(served: FakeTorchServe) -> None:
    plain, streamed = served.send(body(4), grpc="yes"), served.send(body(4, stream=True), grpc="yes")
    bad = served.send(b"{", grpc="yes")
    served.run()
    assert len(plain.chunks) == len(streamed.chunks) == 1
    assert plain.json["captions"] == streamed.lines[-1]["captions"]
    assert bad.json["status"] == 400


def test_what_fails_in_mid_stream_says_so_in_the_stream(
    served: FakeTorchServe, handler: CaptionHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed, plain = served.send(body(5, stream=True)), served.send(body(6))
    served.call()

    def explode(_: int) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr(handler.scheduler, "run", explode)
    served.call()
    assert (streamed.status, streamed.lines[-1]["error"]["code"]) == (200, "inference_failed")
    assert (plain.status, plain.json["error"]["code"]) == (424, "inference_failed")
    monkeypatch.undo()
    after = served.send(body(5))
    served.run()
    assert (after.status, handler.scheduler.live_rows) == (200, 0)


def test_static_batches_answer_whole(folder: Path) -> None:
    handler = started(folder, continuousBatching=False)
    served = FakeTorchServe(handler, folder)
    clients = [served.send(body(0)), served.send(body(1, stream=True)), served.send(b"{")]
    served.call()
    assert served.open == {}
    assert [each.status for each in clients] == [200, 200, 400]
    assert clients[0].json["captions"][0]["text"] == expected(handler, 0)
    (line,) = clients[1].lines
    assert line["captions"][0]["text"] == expected(handler, 1)


def test_a_captioner_may_be_greedy_where_nothing_is_said(folder: Path) -> None:
    handler = started(folder, caption_method="greedy")
    served, picture = FakeTorchServe(handler, folder), base64.b64encode(png(0)).decode()
    greedy, several, beams = {"max_tokens": 12}, {"max_tokens": 12, "n": 2}, {"max_tokens": 12, "beams": 3}
    clients = [
        served.send(json.dumps({"image": picture, "caption": said}).encode()) for said in (greedy, several, beams)
    ]
    while served.open:
        served.call()
    said = [CaptionAsk("greedy", **greedy), CaptionAsk(**several), CaptionAsk(**beams)]
    for client, ask in zip(clients, said, strict=True):
        captions = client.json["captions"]
        assert captions[0]["text"] == expected(handler, 0, **vars(ask))
        assert len(captions) == ask.n


def test_drafts_are_used_or_it_is_said_why_not(folder: Path, handler: CaptionHandler) -> None:
    without = FakeTorchServe(started(folder, caption_speculative_decoding=False), folder)
    words = {place: expected(handler, place) for place in range(3)}
    assert handler.scheduler.speculation is not None
    handler.scheduler.speculation.pace = always(8)
    server = FakeTorchServe(handler, folder)
    own = {**json.loads(body(0)), "drafts": [words[0], "a red circle"]}
    beams = {**json.loads(body(1, method="beam")), "drafts": [words[1]]}
    clients = [server.send(json.dumps(each).encode()) for each in (own, beams)]
    plain, nonsense = server.send(body(2)), server.send(json.dumps({**own, "drafts": "a"}).encode())
    off = without.send(json.dumps(own).encode())
    server.run()
    without.run()
    told = clients[0].json["drafts"]
    assert told["accepted"] > 5
    assert set(told) == {"drafted", "accepted", "passes", "guarded"}
    assert [each.json["captions"][0]["text"] for each in (clients[0], plain, off)] == [words[0], words[2], words[0]]
    assert clients[1].json["drafts"] == {"off": "method"}
    assert off.json["drafts"] == {"off": "setting"}
    assert "drafts" not in plain.json
    assert (nonsense.status, nonsense.json["error"]["param"]) == (400, "drafts")


def test_useless_drafts_of_one_origin_are_told_and_others_are_used(folder: Path, handler: CaptionHandler) -> None:
    assert handler.scheduler.speculation is not None
    pace = handler.scheduler.speculation.pace = DraftPace({64: PassCosts(2.0, {8: 1.2})})
    for _ in range(100):
        pace.learn("greedy from here", 8, 1)
    told = []
    for origin in ("here", "there"):
        server = FakeTorchServe(handler, folder)
        given = {**json.loads(body(0)), "drafts": [expected(handler, 0)], "drafts_from": origin}
        client = server.send(json.dumps(given).encode())
        server.run()
        told.append(client.json["drafts"])
    assert told[0] == {"off": "no_gain"}
    assert told[1]["accepted"] > 0
    wrong = FakeTorchServe(handler, folder)
    refused = wrong.send(json.dumps({**json.loads(body(0)), "drafts_from": 7}).encode())
    wrong.run()
    assert (refused.status, refused.json["error"]["param"]) == (400, "drafts_from")


def test_admin_requests_profile_and_have_no_cache(served: FakeTorchServe, handler: CaptionHandler) -> None:
    handler.admin = Admin("secret", None, ACCEPTS, "9000", handler.profiler)
    refused = served.send(b'{"admin": {"profile": "start"}}')
    cache = served.send(b'{"admin": {"cache": "clear", "token": "secret"}}')
    gone = served.send(b'{"admin": {"profile": "fetch", "id": "0", "token": "secret"}}')
    served.call()
    assert [each.status for each in (refused, cache, gone)] == [401, 400, 400]


def test_what_is_counted(served: FakeTorchServe, handler: CaptionHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[str, float] = {}
    monkeypatch.setattr(
        handler.metrics, "add", lambda name, value, *_: counted.update({name: counted.get(name, 0) + value})
    )
    shown: dict[str, float] = {}
    monkeypatch.setattr(handler.metrics, "set", lambda name, value, *_: shown.update({name: value}))
    client = served.send(body(0, stream=True))
    served.call()
    assert shown["clipserve_caption_rows"] == 1
    assert shown["clipserve_caption_cache_bytes"] > 0
    served.run()
    assert shown["clipserve_caption_rows"] == 0
    assert counted["clipserve_captions"] == 1
    assert counted["clipserve_caption_tokens"] >= client.lines[-1]["usage"]["caption_tokens"]


def test_a_worker_whose_canaries_differ_is_not_ready(folder: Path, handler: CaptionHandler, tmp_path: Path) -> None:
    rows = json.loads((folder / CANARIES_FILE).read_text())
    assert canaries.check(handler.scheduler.captioner, "fp32", folder) > 0
    place = next(i for i, margin in enumerate(rows[0]["margins"]) if margin > 0.01)
    rows[0]["tokens"][place] += 1
    (tmp_path / CANARIES_FILE).write_text(json.dumps(rows))
    with pytest.raises(BadModel, match="canaries"):
        canaries.check(handler.scheduler.captioner, "fp32", tmp_path)


def red(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def scoring(places: list[int], texts: list[str], make: Callable[[int], bytes] = png, **more: Any) -> bytes:
    given = [base64.b64encode(make(place)).decode() for place in places]
    return json.dumps({"pictures": given, "score": texts, **more}).encode()


def test_several_pictures_are_scored_together_and_remembered(served: FakeTorchServe, handler: CaptionHandler) -> None:
    texts = ["two red squares", "a dog"]
    lone = [served.send(json.dumps({**json.loads(body(place)), "score": texts}).encode()) for place in (4, 5)]
    first, again = served.send(scoring([4, 5, 4], texts)), served.send(scoring([5], texts))
    served.run()
    assert [each["scores"] for each in first.json["pictures"]] == [
        pytest.approx([{name: pytest.approx(value, abs=1e-4) for name, value in score.items()} for score in scores])
        for scores in (lone[0].json["scores"], lone[1].json["scores"], lone[0].json["scores"])
    ]
    tokens = sum(score["tokens"] for score in lone[0].json["scores"])
    assert first.json["usage"] == {"text_tokens": 3 * tokens, "pictures": 2}
    reply = caption_reply(first.chunks[0])  # as the gateway reads it
    assert reply is not None
    assert [set(each or ()) for each in reply["pictures"]] == [{"scores"}] * 3
    assert again.json["usage"] == {"text_tokens": tokens, "pictures": 0}, "it was remembered"
    assert first.json["fingerprint"] == handler.scheduler.captioner.fingerprint


def test_many_pictures_pass_the_image_tower_some_at_a_time(
    served: FakeTorchServe, handler: CaptionHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, sizes = handler.scheduler.captioner, list[int]()
    remember = captioner.remember

    def counted(pixels: torch.Tensor) -> list[Memory]:
        sizes.append(len(pixels))
        return remember(pixels)

    with monkeypatch.context() as patched:
        patched.setattr(captioner, "remember", counted)
        client = served.send(scoring([*range(18)], ["a dog"], red))
        served.run()
    assert (sizes, len(client.json["pictures"])) == ([16, 2], 18)
    assert all("scores" in each for each in client.json["pictures"])


def test_a_broken_picture_has_its_own_error_and_tokens_end_where_they_are_spent(served: FakeTorchServe) -> None:
    broken = json.dumps({"pictures": ["AAAA", base64.b64encode(png(6)).decode()], "score": ["a dog"]}).encode()
    both, short = served.send(broken), served.send(scoring([6, 7], ["a dog"], most_tokens=5))
    none, bare = served.send(scoring([6], ["a dog"], most_tokens=0)), served.send(b'{"pictures": ["AAAA"]}')
    served.run()
    assert both.json["pictures"][0]["error"]["code"] == "invalid_image"
    assert "scores" in both.json["pictures"][1]
    assert "scores" in short.json["pictures"][0]
    assert short.json["pictures"][1] is None
    assert none.json["pictures"] == [None]
    assert none.status == 200
    assert bare.status == 400
    assert bare.json["error"]["param"] == "pictures"


def test_memories_end_where_their_bytes_do() -> None:
    memory = Memory(torch.zeros(2, 2, 1, 1, 4, 4))
    kept = Memories(2 * memory.cross.nbytes)
    for name in (b"a", b"b", b"a", b"c"):
        kept.get(name)
        kept.put(name, memory)
    assert [kept.get(name) is not None for name in (b"a", b"b", b"c")] == [True, False, True]
    assert kept.bytes == 2 * memory.cross.nbytes
    assert Memories(0).get(b"a") is None
