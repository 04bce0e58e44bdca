"""What is done to processes is drawn with the batch's seed, and happens at an observed moment, once."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from harness.exploration.disturbance import ROLES, WORDS, Disturber, disturbance_of
from harness.exploration.judging import judge
from harness.generation import Case
from harness.history import Event, HistoryWriter

CALL = Event(0, 0.0, "", "agent", "call")


def test_equal_seeds_disturb_equally_and_every_word_and_role_comes() -> None:
    """One batch in so many, and none when it is switched off or the subject has no such role."""
    drawn = [disturbance_of(seed, 4, ("api", "consumer", "bridge")) for seed in range(400)]
    assert drawn == [disturbance_of(seed, 4, ("api", "consumer", "bridge")) for seed in range(400)]
    some = [one for one in drawn if one is not None]
    assert 60 < len(some) < 140
    assert {one.word for one in some} == set(WORDS)
    assert {one.role for one in some} == set(ROLES)
    assert disturbance_of(1, 0, ("consumer",)) is None
    assert disturbance_of(1, 1, ()) is None


class _Processes:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_go = threading.Event()

    def __getattr__(self, word: str) -> Any:
        def act(*arguments: Any) -> None:
            self.told.append(word)
            self.may_go.wait(10)

        return act

    def lacking(self, *_: Any) -> None:
        return None


def test_it_is_done_once_its_moment_has_come() -> None:
    """Not before enough calls, not while requests are under way when it is the API's turn, and not twice."""
    seed = next(one for one in range(500) if str(disturbance_of(one, 1, ("api",))).startswith("kill api"))
    wanted = disturbance_of(seed, 1, ("api",))
    assert wanted is not None
    processes = _Processes()
    bench: Any = SimpleNamespace(
        roles=("api",),
        processes=processes,
        observer=SimpleNamespace(scopes=SimpleNamespace(tell_all=lambda *_, **__: None)),
    )
    disturber = Disturber(bench, 1)
    for _ in range(wanted.after_calls - 1):
        disturber.heard(seed, CALL)
    assert not disturber.tick(is_acting=False)
    assert not disturber.is_busy
    disturber.heard(seed, CALL)
    assert disturber.awaits_silence()
    assert not disturber.tick(is_acting=True)
    assert not disturber.is_busy
    disturber.tick(is_acting=False)
    assert disturber.is_busy
    processes.may_go.set()
    disturber.join()
    assert processes.told == ["kill", "start", "restore"]
    disturber.tick(is_acting=False)
    assert not disturber.is_busy
    assert dict(disturber.done) == {"kill api": 1}


def test_runs_begin_while_others_than_the_api_are_away() -> None:
    """Only a request to the API has nobody to answer it."""
    for role, is_silent in (("api", True), ("consumer", False), ("bridge", False)):
        seed = next(one for one in range(500) if str(disturbance_of(one, 1, (role,))).startswith(f"kill {role}"))
        processes = _Processes()
        scopes = SimpleNamespace(tell_all=lambda *_, **__: None)
        bench: Any = SimpleNamespace(roles=(role,), processes=processes, observer=SimpleNamespace(scopes=scopes))
        disturber = Disturber(bench, 1)
        for _ in range(200):
            disturber.heard(seed, CALL)
        disturber.tick(is_acting=False)
        assert disturber.is_busy
        assert disturber.awaits_silence() == is_silent
        processes.may_go.set()
        disturber.join()


def test_what_was_added_is_told_to_have_left() -> None:
    """Else calls that were made twice for its sake would be held against the subject."""
    seed = next(one for one in range(500) if str(disturbance_of(one, 1, ("bridge",))).startswith("add bridge"))
    processes = _Processes()
    processes.may_go.set()
    scopes = SimpleNamespace(tell_all=lambda *_, **__: None)
    bench: Any = SimpleNamespace(roles=("bridge",), processes=processes, observer=SimpleNamespace(scopes=scopes))
    disturber = Disturber(bench, 1)
    for _ in range(200):
        disturber.heard(seed, CALL)
    disturber.tick(is_acting=False)
    disturber.join()
    assert processes.told == ["add", "remove", "restore"]


def test_a_time_out_is_not_judged_when_a_process_was_away() -> None:
    """It may have been over before there was anybody to ask."""
    steps = {
        "f": {"id": "f", "type": "fork_join", "fork_join_config": {
            "branches": {"x": {"steps": ["a"], "timeout_seconds": 20}, "y": {"steps": ["b"]}}, "join_policy": "all",
        }},
        "a": {"id": "a", "agent_name": "w"},
        "b": {"id": "b", "agent_name": "v"},
    }  # fmt: skip
    case = Case({"name": "main", "start_step": "f", "steps": steps}, {"w": [{"ok": {}}], "v": [{"ok": {}}]}, {})
    writer = HistoryWriter(None)
    writer.add("harness", "run", "run-1", alias="r", workflow="main", plan=case.workflow, input={}, via="kafka")
    events = writer.history().events
    assert judge(case.key, "FAILED", events, is_disturbed=True).undecided is not None
    assert [one.clause for one in judge(case.key, "FAILED", events).findings if one.checker == "oracle"]
