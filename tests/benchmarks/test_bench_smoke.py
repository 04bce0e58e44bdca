"""The benchmark on a real stack, with a few runs; and that it refuses to call a loss a throughput."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from benchmarks import report
from benchmarks.agent_process import echo_agent
from benchmarks.agent_requests import request_body
from benchmarks.contender import Submit
from benchmarks.dbos_peer import Dbos
from benchmarks.measures import MEASURES, Seat, Sizes, backlog, submission
from benchmarks.reference import Reference
from benchmarks.trial import Trial, carry_out
from benchmarks.workload import Workload
from harness.stack import Warden


def test_every_contender_is_measured_or_named_as_skipped() -> None:
    """All measures, one repetition, on the embedded stack: numbers for whoever is installed, a reason for the others."""
    said: list[str] = []
    sizes = Sizes(runs=20, latency_runs=3, warm_up_runs=4, submitters=2)
    trial = Trial([Reference(), Dbos()], Workload(), sizes, 1, tuple(MEASURES))
    results = carry_out(trial, said.append)
    measured = {(each.contender, each.measure): each for each in results.measurements}
    assert set(measured) == {(each.name, measure) for each in results.present for measure in MEASURES}
    assert {"reference", "DBOS"} == {each.name for each in results.present} | set(results.skipped)
    assert all(value > 0 for each in results.measurements for value in each.values.values())
    assert set(measured["reference", "backlog"].cpu_ms_per_run) >= {"api", "consumer", "bridge", "postgresql", "kafka"}
    assert measured["reference", "submission"].peak_mib["consumer"] > 1
    assert results.agent_calls_per_second > 100
    assert "fsync on" in results.machine["postgresql"]
    table = {cells[0] for cells in report.lines(results)}
    assert {"one run, p50, ms", "backlog drained, runs/s", "submitted while draining, runs/s"} <= table
    assert len(json.loads(json.dumps(report.as_json(results)))["measurements"]) == len(measured)
    for name in results.skipped:
        assert any(name in line and "skipped" in line for line in said)


def test_the_agent_answers_with_its_input_also_when_requests_come_in_pieces() -> None:
    """Two requests over one connection, the second cut in the middle of its body."""
    with Warden() as warden, echo_agent(warden) as agent:
        connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
        connection.connect()
        for cut in (None, -5):
            body = request_body(f"task-{cut}", {"message": "größer", "n": [1, {"x": None}]})
            head = b"POST /agents/echo HTTP/1.1\r\nhost: x\r\nCONTENT-LENGTH: %d\r\n\r\n" % len(body)
            for piece in (head + body[:cut], body[cut:] if cut is not None else b""):
                connection.sock.sendall(piece)
            response = http.client.HTTPResponse(connection.sock)
            response.begin()
            answer = {"jsonrpc": "2.0", "id": f"task-{cut}", "result": {"message": "größer", "n": [1, {"x": None}]}}
            assert json.loads(response.read()) == answer
        connection.close()


class _Forgetful:
    """An entrant that says that it is done, and has lost a run."""

    roles: Mapping[str, Sequence[int]] = {}

    def __init__(self) -> None:
        self._accepted = 0

    def ways(self) -> Mapping[str, Callable[[int], list[float]]]:
        return {"front door": lambda runs: [0.001] * runs}

    def lay_backlog(self, first: int, runs: int) -> None:
        assert first == 0
        self._accepted += runs

    def release(self) -> None:
        self._accepted -= 1

    @contextlib.contextmanager
    def submitter(self) -> Iterator[Submit]:
        def submit(number: int) -> None:
            self._accepted += number != 2

        yield submit

    def is_drained(self) -> bool:
        return True

    def completed(self) -> int:
        return self._accepted


@pytest.mark.parametrize("measure", [backlog, submission])
def test_a_throughput_with_a_lost_run_in_it_is_refused(measure: Callable[[Seat], object]) -> None:
    seat = Seat("forgetful", 0, _Forgetful(), {}, Sizes(runs=10, submitters=1))
    with pytest.raises(RuntimeError, match="10 runs should have ended well by now, 9 have"):
        measure(seat)
