"""The reference on three brokers, of which one dies, and then another one; and what cannot be done to it there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 240.0
BROKERS_DIE = "faults/one_broker_of_three"
NEEDS_PROXIES = "faults/cut_off_for_a_while"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What came of two scenarios on a cluster."""
    results = tmp_path_factory.mktemp("cluster")
    asked = [
        sys.executable, "-m", "pytest", "-q", *(f"scenarios/{name}.yaml" for name in (BROKERS_DIE, NEEDS_PROXIES)),
        "--stack", "cluster", "--subject", "subjects/reference.yaml", "--results", str(results),
    ]  # fmt: skip
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    lines = (results / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
    return {outcome["scenario"].partition("[")[0]: outcome for outcome in map(json.loads, lines)}


def test_a_broker_that_dies_costs_no_run(outcomes: dict[str, dict[str, str]]) -> None:
    """Runs end while one of three is away, and while another one is."""
    assert (outcomes[BROKERS_DIE]["verdict"], outcomes[BROKERS_DIE]["reason"]) == ("passed", None)


def test_what_needs_proxies_is_not_supported_and_says_why(outcomes: dict[str, dict[str, str]]) -> None:
    """A network that cannot be cut is no failure of the subject, and no success either."""
    assert outcomes[NEEDS_PROXIES]["verdict"] == "not supported"
    assert "need proxies before the stack: take the embedded one, or containers" in outcomes[NEEDS_PROXIES]["reason"]
