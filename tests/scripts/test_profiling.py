"""What is made of a worker's profile."""

from __future__ import annotations

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadInput, InvalidRequest, NotFound, Overloaded, TorchServeUnavailable
from scripts.cli import main
from scripts.profiling import taking
from scripts.profiling.flame_graph import frames, stacked, svg
from scripts.profiling.profile_page import page
from scripts.profiling.reading import cost, difference, operators, product_gflops, read_profile, stages
from scripts.profiling.taking import ProfileTaker, _profile_in, check_folder, write_profile, write_service_profile


def event(name: str, start: float, length: float, thread: int = 1) -> dict[str, Any]:
    return {"name": name, "ph": "X", "ts": start, "dur": length, "pid": 1, "tid": thread}


PROFILE: dict[str, Any] = {
    "endpoint": "clip_text",
    "worker": "9000",
    "threads": 2,
    "batches": [
        {"ms": 10.0, "profiler_ms": 4.0, "requests": 1, "items": 1, "stages": {"tokenize": 1.0, "text tower": 6.0}},
        {"ms": 12.0, "requests": 3, "items": 3, "stages": {"tokenize": 1.0, "text tower": 8.0, "index": 2.0}},
    ],
    "before_ms": [5.0, 8.0],
    "operators": [
        {"name": "aten::mm", "calls": 4, "self_us": 2000.0, "total_us": 2000.0, "flops": 4e6},
        {"name": "<b>odd</b>", "calls": 1, "self_us": 500.0, "total_us": 500.0, "flops": 0.0},
    ],
    "trace": [event("encode", 0, 100), event("aten::mm", 10, 30), event("aten::add", 50, 10), event("other", 5, 9, 2)],
}


def test_events_are_nested_by_their_times_and_threads() -> None:
    top = frames(PROFILE["trace"])
    assert set(top.below) == {"encode", "other"}
    assert {name: each.us for name, each in top.below["encode"].below.items()} == {"aten::mm": 30, "aten::add": 10}
    assert top.us == 109


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 2)), max_size=30))
def test_any_events_are_a_graph_of_known_width(times: list[tuple[int, int, int]]) -> None:
    drawn = ElementTree.fromstring(svg(frames([event(f"<{i}>", *each) for i, each in enumerate(times)])))
    for box in drawn.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= 1200.2


def test_where_the_time_went() -> None:
    found = {row.name: round(row.ms, 3) for row in stages(PROFILE)}
    assert found == {"text tower": 7.0, "rest": 2.0, "tokenize": 1.0, "index": 1.0}
    assert all(row.knob for row in stages(PROFILE))
    assert operators(PROFILE)[0].name == "aten::mm"
    assert product_gflops(PROFILE) == pytest.approx(2.0)
    assert (cost(PROFILE)["p50_during"], cost(PROFILE)["p99_during"]) == (14.0, 14.0)
    assert stages({**PROFILE, "batches": []}) == []
    assert product_gflops({**PROFILE, "operators": []}) is None


def test_the_page_needs_no_network_and_shows_names_as_they_are() -> None:
    text = page(PROFILE, 20.0)
    assert "<b>odd" not in text
    assert "10% of the 20.0" in text
    assert "src=" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_numbers_stand_right_settings_are_code_and_only_graphs_are_wider_than_a_phone() -> None:
    text = page({**PROFILE, "threads": 1}, 20.0)
    assert '<td class="number">7.00</td><td class="number">63.6%</td>' in text
    assert "<td>99 % of the batches</td>" in text
    assert "<code>precision: int8</code>" in text
    assert "with 1 thread," in text
    assert "Of each batch 2.0 ms are the profiler's own" in text
    assert re.findall(r"([^{}]*)\{[^{}]*min-width", text) == [" .graph svg "]


def test_two_profiles_are_compared_by_what_became_slower(tmp_path: Path) -> None:
    slower = {**PROFILE, "batches": [{"ms": 20.0, "stages": {"text tower": 17.0}}]}
    for name, profile in (("a", PROFILE), ("b", slower)):
        write_profile(profile, tmp_path / name, None)
    assert difference(read_profile(tmp_path / "a"), read_profile(tmp_path / "b"))[0] == ("text tower", 7.0, 17.0)
    assert (tmp_path / "a" / "trace.json").exists()


def test_what_is_no_profile_is_said(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text("[]")
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InvalidRequest):
            read_profile(path)


def test_an_answers_error_is_raised() -> None:
    body = {"error": {"message": "no", "code": "bad_input"}}
    with pytest.raises(BadInput):
        _profile_in("clip_text", httpx.Response(400, json=body))


def test_what_only_passes_is_told_from_what_ends_a_profile() -> None:
    busy = httpx.Response(503, json={"code": 503, "type": "ServiceUnavailableException", "message": "no worker"})
    with pytest.raises(TorchServeUnavailable, match="no worker"):
        _profile_in("clip_text", busy)
    with pytest.raises(NotFound):
        _profile_in("nope", httpx.Response(404, json={"code": 404, "message": "Model not found"}))


def test_a_full_queue_is_no_end_of_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_LOOK_S", 0.0)
    told: list[Any] = [{"id": "1"}, Overloaded("full"), TorchServeUnavailable("full"), {"state": "running"}]
    done = {"state": "done", "batches": []}

    def answers(*_: Any) -> Any:
        said = told.pop(0) if told else done
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(ProfileTaker, "_admin", answers)
    assert ProfileTaker("http://127.0.0.1:9", "t").take("clip_text", 1, 1) == done
    told[:] = [{"id": "1"}, NotFound("lost"), done]
    with pytest.raises(NotFound):
        ProfileTaker("http://127.0.0.1:9", "t").take("clip_text", 1, 1)


def test_a_strange_endpoint_is_one_that_there_is_not() -> None:
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for endpoint in ("clip\ntext", "../../models", "a?b#c"):
            with pytest.raises(NotFound):
                ProfileTaker(f"http://127.0.0.1:{server.server_port}", "t").take(endpoint, 1, 1)
        server.shutdown()
    assert paths == ["/predictions/clip%0Atext", "/predictions/..%2F..%2Fmodels", "/predictions/a%3Fb%23c"]


def test_a_folder_that_takes_nothing_is_said_before_a_profile_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below"):
        with pytest.raises(BadInput, match="no profile can be written"):
            check_folder(place)
        with pytest.raises(BadInput, match="no profile can be written"):
            write_service_profile("gateway", SERVICE, place)
    check_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["clipserve", "profile", "diff", "/[/none]", "[bold]b"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "/[/none]" in capsys.readouterr().err


SERVICE: dict[str, Any] = {
    "seconds": 1,
    "cpu_ms": 30.0,
    "stacks": [{"frames": ["main", "<b>odd</b>"], "ms": 20.0}, {"frames": ["main", "other"], "ms": 10.0}],
    "timeline": [[0.0, 1_000_000], [0.5, 3_000_000]],
    "memory": [{"where": "a.py:3", "bytes": 2_000_000, "blocks": 7}],
}


def test_sampled_stacks_are_a_graph_of_the_same_kind() -> None:
    top = stacked(SERVICE["stacks"])
    assert top.us == 30_000
    assert {name: frame.us for name, frame in top.below["main"].below.items()} == {
        "<b>odd</b>": 20_000,
        "other": 10_000,
    }


@pytest.mark.parametrize("profile", [SERVICE, {**SERVICE, "stacks": [], "timeline": [], "memory": []}])
def test_a_services_page_needs_no_network_either(profile: dict[str, Any], tmp_path: Path) -> None:
    write_service_profile("gateway", profile, tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<b>odd" not in text
    assert "src=" not in text
    assert ("a.py:3" in text) is bool(profile["memory"])
    assert ("at most 3 MB" in text) is bool(profile["timeline"])
