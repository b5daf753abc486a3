"""Following a source again and again, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from clipserve_client.sources.entries import SourceError
from scripts.commands.sync_command import seconds
from scripts.sync.errors import SyncRunning
from scripts.sync.lock import only_one
from scripts.sync.opening import state_reader
from scripts.sync.watching import Plan, Repeated


class Clock:
    """Time passes in `sleep` only; `states` are what the source is, look by look, then the last one for ever."""

    def __init__(self, *states: object) -> None:
        self.now, self.states, self.looks = 0.0, list(states), 0
        self.syncs: list[float] = []
        self.said: list[str] = []

    def look(self) -> object:
        state = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        if isinstance(state, Exception):
            raise state
        return state

    def once(self) -> None:
        self.syncs.append(self.now)

    def sleep(self, pause_s: float) -> None:
        self.now += pause_s
        assert self.now < 1e6, "it waits for ever"

    def follow(self, plan: Plan, rounds: int, once: Callable[[], object] | None = None) -> list[float]:
        repeated = Repeated(
            plan, once or self.once, self.look, self.said.append, sleep=self.sleep, clock=lambda: self.now
        )
        repeated.run(rounds)
        return self.syncs


def test_a_change_is_followed_once_it_came_to_rest() -> None:
    assert Clock("a", "a", "b", "c", "d", "d").follow(Plan(interval_s=2), 2) == [0, 10]


def test_a_source_that_never_rests_is_followed_all_the_same() -> None:
    assert Clock(*range(1000)).follow(Plan(interval_s=2), 3) == [0, 60, 120]


def test_a_schedule() -> None:
    assert Clock("a").follow(Plan(every_s=600), 3) == [0, 600, 1200]
    assert Clock("a").follow(Plan(interval_s=2, every_s=600), 3) == [0, 600, 1200]


def test_failures_are_said_and_tried_again_more_and_more_slowly() -> None:
    clock = Clock("a")

    def fails() -> None:
        clock.once()
        if len(clock.syncs) < 4:
            raise SourceError("the disk is away")

    assert clock.follow(Plan(every_s=600), 5, fails) == [0, 60, 180, 420, 1020]
    assert clock.said[0] == "the disk is away; tried again in 60 s"


def test_a_source_may_be_away_for_days() -> None:
    clock = Clock("a")

    def fails() -> None:
        clock.once()
        raise SourceError("the disk is away")

    assert len(clock.follow(Plan(every_s=600), 1100, fails)) == 1100  # 2 to the 1024th is no float


def test_a_look_that_fails_is_no_change() -> None:
    assert Clock("a", SourceError("away"), "a", "b", "b").follow(Plan(interval_s=2), 2) == [0, 8]


def test_a_source_that_goes_away_while_it_is_watched_is_said_once() -> None:
    away = SourceError("a can't be read")
    clock = Clock("a", away, away, "a", away, "b", "b")
    assert clock.follow(Plan(interval_s=2), 2) == [0, 12]
    assert clock.said == ["a can't be read; nothing is followed until it can"] * 2


def test_a_folders_state(tmp_path: Path) -> None:
    look = state_reader(str(tmp_path), {})
    states = [look()]
    for change in (
        lambda: (tmp_path / "a.png").write_bytes(b"1"),
        lambda: (tmp_path / "a.png").write_bytes(b"12"),
        lambda: (tmp_path / "a.json").write_text("{}"),
        lambda: (tmp_path / "a.png").rename(tmp_path / "b.png"),
        lambda: (tmp_path / "b.png").unlink(),
    ):
        change()
        assert look() == look()
        states.append(look())
    assert len(set(states)) == len(states)
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "circle").symlink_to(tmp_path)
    assert look() == states[-1]
    with pytest.raises(SourceError):
        state_reader(str(tmp_path / "none"), {})()


def test_a_link_to_itself_hides_nothing_of_its_folder(tmp_path: Path) -> None:
    for n in range(20):  # the order of a listing is the file system's
        (tmp_path / f"loop{n}").symlink_to(tmp_path / f"loop{n}")
        (tmp_path / f"{n}.png").write_bytes(b"1")
    look = state_reader(str(tmp_path), {})
    before = look()
    for n in range(20):
        (tmp_path / f"{n}.png").write_bytes(b"12")
        assert look() != before
        before = look()


def test_a_manifest_is_watched_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "m.csv").write_text("file\n")
    look = state_reader(str(tmp_path / "a"), {}, str(tmp_path / "m.csv"))
    before = look()
    (tmp_path / "m.csv").write_text("file\na.png\n")
    assert look() != before
    (tmp_path / "m.csv").unlink()
    with pytest.raises(SourceError, match=r"m\.csv can't be read"):
        look()


@pytest.mark.parametrize(("given", "expected"), [("30", 30), ("30s", 30), ("10m", 600), ("1.5h", 5400), ("1d", 86400)])
def test_durations(given: str, expected: float) -> None:
    assert seconds(given) == expected


@pytest.mark.parametrize("given", ["", "0", "-1s", "ten minutes", "1w"])
def test_no_durations(given: str) -> None:
    with pytest.raises(typer.BadParameter):
        seconds(given)


def test_one_sync_at_a_time() -> None:
    with only_one("http://x", "photos", "a"):
        with only_one("http://x", "photos", "b"):
            pass
        with pytest.raises(SyncRunning, match="another process"), only_one("http://x", "photos", "a"):
            pass
    with only_one("http://x", "photos", "a"):
        pass


def test_a_folder_is_the_same_by_whatever_way_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    with only_one("http://x", "photos", str(tmp_path)):
        for name in (".", "./", "link", f"{tmp_path}/", f"file://{tmp_path}"):
            with pytest.raises(SyncRunning, match="another process"), only_one("http://x", "photos", name):
                pass
