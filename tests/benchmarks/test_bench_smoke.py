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
from benchmarks.contender import Contender, Ended, Submit
from benchmarks.dbos_peer import Dbos
from benchmarks.measurement import Measurement
from benchmarks.measures import MEASURES, Seat, Sizes, backlog, latency, submission
from benchmarks.reference import Reference
from benchmarks.temporal_peer import Temporal
from benchmarks.trial import Trial, carry_out
from benchmarks.workload import Workload
from harness.stack import Warden


def test_every_contender_is_measured_or_named_as_skipped() -> None:
    """All measures, one repetition, on the embedded stack: numbers for whoever is installed, a reason for the others."""
    said: list[str] = []
    sizes = Sizes(runs=20, latency_runs=3, warm_up_runs=4, submitters=2)
    contenders: list[Contender] = [
        Reference(),
        Dbos(),
        Temporal(may_build=False),
        Temporal(local=True, may_build=False),
    ]
    trial = Trial(contenders, Workload(), sizes, 1, tuple(MEASURES))
    results = carry_out(trial, said.append)
    measured = {(each.contender, each.measure): each for each in results.measurements}
    assert set(measured) == {(each.name, measure) for each in results.present for measure in MEASURES}
    names = {"reference", "DBOS", "Temporal", "Temporal, local activities"}
    assert names == {each.name for each in results.present} | set(results.skipped)
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


@pytest.mark.parametrize("workload", [Workload(4, shape="parallel"), Workload(5, 1_000, "loop")])
def test_the_other_shapes_come_out_right_in_the_reference(workload: Workload) -> None:
    """What a run gave back is compared by the measure itself, which refuses anything else."""
    sizes = Sizes(runs=6, latency_runs=2, warm_up_runs=2, submitters=2)
    results = carry_out(Trial([Reference()], workload, sizes, 1, ("latency", "backlog")), lambda _text: None)
    assert [measured.measure for measured in results.measurements] == ["latency", "backlog"]
    assert results.skipped == {}


class _Pretender:
    """An entrant that says that it is done: with `lost` of its runs forgotten, and `output` as what each gave back."""

    roles: Mapping[str, Sequence[int]] = {}

    def __init__(self, *, lost: int = 0, forgotten_outcomes: int = 0, output: object = None) -> None:
        self._accepted = -lost
        self._forgotten_outcomes = forgotten_outcomes
        self._output = output

    def ways(self) -> Mapping[str, Callable[[int], list[float]]]:
        def one_by_one(runs: int) -> list[float]:
            self._accepted += runs
            return [0.001] * runs

        return {"front door": one_by_one}

    def lay_backlog(self, first: int, runs: int) -> None:
        assert first == 0
        self._accepted += runs

    def release(self) -> None:
        """Nothing stands still here."""

    @contextlib.contextmanager
    def submitter(self) -> Iterator[Submit]:
        def submit(number: int) -> None:
            self._accepted += 1

        yield submit

    def is_drained(self) -> bool:
        return True

    def completed(self) -> int:
        # What is lost is lost after the first look, at which nothing was asked for.
        return max(self._accepted, 0)

    def ended(self, limit: int) -> Sequence[Ended]:
        given = Workload().input_data(1)
        count = min(self._accepted, limit) - self._forgotten_outcomes
        return [Ended(given, given if self._output is None else self._output)] * count


def _seat(entrant: _Pretender) -> Seat:
    return Seat("pretender", 0, entrant, Workload(), {}, Sizes(runs=10, latency_runs=10, submitters=1))


ALL_MEASURES = pytest.mark.parametrize("measure", [latency, backlog, submission])


@ALL_MEASURES
def test_a_measure_in_which_all_is_well_is_told(measure: Callable[[Seat], Measurement]) -> None:
    assert all(value > 0 for value in measure(_seat(_Pretender())).values.values())


@ALL_MEASURES
def test_a_measure_with_a_lost_run_in_it_is_refused(measure: Callable[[Seat], object]) -> None:
    with pytest.raises(RuntimeError, match="10 runs should have ended well by now, 9 have"):
        measure(_seat(_Pretender(lost=1)))


@ALL_MEASURES
def test_a_measure_with_a_wrong_outcome_in_it_is_refused(measure: Callable[[Seat], object]) -> None:
    with pytest.raises(RuntimeError, match=r"a run gave back \{'message': 'wrong'\}; expected \{'message': '00000001"):
        measure(_seat(_Pretender(output={"message": "wrong"})))


@ALL_MEASURES
def test_a_measure_whose_outcomes_cannot_be_had_is_refused(measure: Callable[[Seat], object]) -> None:
    with pytest.raises(RuntimeError, match="the outcomes of 10 runs should be there, 9 are"):
        measure(_seat(_Pretender(forgotten_outcomes=1)))
