"""A part of the suite on the stack in containers: the reference as processes of this machine, and from its image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each server away and hung, and a fault point of each kind of boundary, through the proxies.
OF_THE_STACK = (
    "completion/chain_in_order",
    "delivery/broker_stands_still",
    "delivery/database_away",
    "faults/bridge_dies_with_a_result",
    "faults/consumer_dies_at_its_last_commit",
    "faults/lost_answer_to_a_commit",
    "faults/partitioned_consumer",
)
# Each thing that can be done to a process, done to a container.
OF_THE_IMAGE = (
    "completion/chain_in_order",
    "faults/consumer_dies_at_its_last_commit",
    "parallel_consumers/all_killed",
    "parallel_consumers/hanging",
    "resume/death_between_steps",
)

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize(
    ("subject", "chosen"), [("reference", OF_THE_STACK), ("reference-image", OF_THE_IMAGE)], ids=["processes", "image"]
)
def test_the_reference_passes_on_the_stack_in_containers(
    image: str, tmp_path: Path, subject: str, chosen: tuple[str, ...]
) -> None:
    """Each chosen scenario is carried out, and passed; none is left out as not supported."""
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", *(f"scenarios/{name}.yaml" for name in chosen), "--stack", "containers",
            "--subject", f"subjects/{subject}.yaml", "--results", str(tmp_path),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=850,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    outcomes = [json.loads(line) for line in (tmp_path / "outcomes.jsonl").read_text().splitlines()]
    assert {outcome["verdict"] for outcome in outcomes} == {"passed"}
    assert {outcome["scenario"].partition("[")[0] for outcome in outcomes} == set(chosen)
