"""The reference in simulated worlds: nothing lost, doubled or undone; the same seed, the same history; mistakes found."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mutants.patching import applied
from tests.simulation import load
from tests.simulation.__main__ import found_within
from tests.simulation.mutants import OWN, Mistake
from tests.simulation.shrink import kind_of, shrunk
from tests.simulation.world import live

_ROOT = Path(__file__).parents[2]
_CALM, _DISTURBED, _TWICE = range(40), range(1000, 1150), range(300, 330)
_WORLDS_FOR_A_MISTAKE = 600
# Of these the first world that shows them is far away; the command looks for them, `--mutants`.
_FAR = {
    "result on its way answers a later copy",
    "old marks committed",
    "turns not taken",
    "memory believed after a failure",
    "timers are not looked at",
}


@pytest.mark.parametrize("seed", _CALM)
def test_undisturbed_runs_come_to_what_the_engine_alone_says(seed: int) -> None:
    lived = live(seed, shape=load.without_faults(load.shape(seed)))
    assert lived.violations == ()
    assert lived.taken == {}


def test_nothing_is_lost_doubled_or_undone_whatever_befalls_the_processes() -> None:
    faults: set[str] = set()
    for seed in _DISTURBED:
        lived = live(seed)
        assert lived.violations == (), f"python -m tests.simulation --replay {seed}"
        faults |= lived.faults.keys()
    assert faults == set(load.FAULTS), "every kind of fault has struck"


def test_the_same_seed_gives_the_same_history_also_in_another_process_with_other_hashes() -> None:
    here = _digest_of_all()
    command = [sys.executable, "-c", "from tests.simulation.test_worlds import _digest_of_all; print(_digest_of_all())"]
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(_ROOT)}
    elsewhere = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert elsewhere.stdout.strip() == here
    assert _digest_of_all() == here


def _digest_of_all() -> str:
    return hashlib.sha256("".join(live(seed).digest for seed in _TWICE).encode()).hexdigest()


def test_the_decisions_of_a_world_replay_it() -> None:
    lived = live(1001)
    assert live(1001, replay=lived.taken).digest == lived.digest


def test_the_world_that_showed_a_result_lost_to_a_later_copy_is_right_now_and_shows_it_still() -> None:
    mistake = next(one for one in OWN if one.name == "result on its way answers a later copy")
    assert live(924).violations == ()
    with applied(mistake.patches):
        assert kind_of(live(924)) == "CMP"


@pytest.mark.parametrize("mistake", [one for one in OWN if one.name not in _FAR], ids=lambda one: one.name)
def test_a_mistake_in_the_reference_is_found(mistake: Mistake) -> None:
    assert found_within(mistake, 0, _WORLDS_FOR_A_MISTAKE) is not None


def test_a_failing_world_is_made_smaller_and_still_fails_in_the_same_way() -> None:
    mistake = next(one for one in OWN if one.name == "no fencing")
    found = found_within(mistake, 0, _WORLDS_FOR_A_MISTAKE)
    assert found is not None
    failed = found[1]
    shape = load.shape(failed.seed)
    began = time.monotonic()
    with applied(mistake.patches):
        smallest, smaller = shrunk(failed, shape, most_worlds=80)
    assert kind_of(smallest) == kind_of(failed)
    assert len(smaller.runs) <= len(shape.runs)
    assert len(smallest.taken) < len(failed.taken)
    assert time.monotonic() - began < 60
