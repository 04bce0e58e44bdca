"""Outcomes whose histories hold what would do harm on a page, were it taken for more than text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.history import HistoryWriter
from harness.verdict import Finding, Outcome, Verdict

RUN = "run-5f0c1a52-8a3e-4c4e-9a57-0d1f2b3c4d5e"
HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=2'>{{ 7*7 }}\u2028\x00\x1b]]>"
EXPLANATION = f"run {RUN} was read COMPLETED and later RUNNING, without a retry that explains it"


def write_history(path: Path, *, polls: int = 0, text: str = HOSTILE) -> None:
    """A run that ends, is polled so many times, and is then read RUNNING: the witnesses are the row of its end and the
    last but one event."""
    plan = {"name": "main-1", "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "worker-1"}}}
    with HistoryWriter(path) as writer:
        writer.add("harness", "begin", scenario="resume/ended", agents={"worker": "worker-1"}, drawn={"text": text})
        writer.add("harness", "run", RUN, alias="r", workflow="main", plan=plan, input={"text": text}, via="kafka")
        writer.add(
            "kafka", "message", RUN, topic="tasks", value={"task_id": "t", "agent_name": "worker-1", "input_data": text}
        )
        writer.add("agent", "call", RUN, call=1, agent="worker", task_id="t", input={"text": text})
        writer.add(
            "agent", "answer", RUN, call=1, agent="worker", task_id="t", ending="answered", status=200, output=text
        )
        writer.add("process", "killed", process="consumer-1")
        writer.add("harness", "act", act="kill", arguments={"role": "consumer"}, outcome="done")
        writer.add("database", "run_row", RUN, row={"run_id": RUN, "status": "COMPLETED", "error_message": text})
        for number in range(polls):
            writer.add("kafka", "committed", group="g", topic="requests", partition=0, offset=number)
        writer.add("database", "run_row", RUN, row={"run_id": RUN, "status": "RUNNING"})
        writer.add("harness", "end", reason="done")


MakeOutcome = Callable[..., Outcome]


@pytest.fixture
def make_outcome(tmp_path: Path) -> MakeOutcome:
    """Makes an outcome; a failed one has a history of its own, of `polls` events more than ten."""

    def make(
        name: str = "resume/ended",
        verdict: Verdict = "failed",
        *,
        polls: int = 0,
        subject: str = "reference",
        reason: str | None = None,
        known_failure: str | None = None,
    ) -> Outcome:
        history = None
        findings: tuple[Finding, ...] = ()
        if verdict == "failed":
            history = tmp_path / "histories" / f"{name.replace('/', '_')}-{subject}.jsonl"
            history.parent.mkdir(exist_ok=True)
            write_history(history, polls=polls)
            findings = (
                Finding("run_statuses", "TBL-03", "terminal status overwritten", EXPLANATION, (7, 8 + polls), RUN),
            )
        return Outcome(
            scenario=name,
            guarantee=f"A run that has ended stays ended. {HOSTILE}",
            clauses=("RES-14",),
            subject=subject,
            verdict=verdict,
            reason=reason or (EXPLANATION if findings else None),
            findings=findings,
            seconds=1.5,
            history=history,
            seed=7,
            scenario_file=Path("scenarios/resume/ended.yaml"),
            known_failure=known_failure,
        )

    return make
