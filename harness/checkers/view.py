"""What the checkers look at: the events of a history, put in order run by run. Pure; made once per history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from harness.checkers.oracle.plan import NotAPlan, Plan
from harness.checkers.oracle.values import canonical
from harness.history import Event, History

TERMINAL = frozenset(("COMPLETED", "FAILED", "CANCELLED"))
ENDED = frozenset(("COMPLETED", "FAILED", "CANCELLED", "SKIPPED"))

LAG_SECONDS = 2.0
"""How much later than it happened something may be seen. Rows and topics are read all the time, so that an undisturbed
harness is behind by milliseconds; only what is further apart counts as "after"."""

_DISTURBING = frozenset(("killed", "stopped", "paused", "resumed", "exited"))
_DISTURBING_ACTS = frozenset(
    ("kill", "stop", "start", "restart", "pause", "resume", "add", "remove", "redeliver", "fault", "drop", "delay")
)
_SOURCE_VIEWS = "_views_of_the_checkers"

Reader = Literal["poll", "snapshot", "rest"]


@dataclass(frozen=True, slots=True)
class Read:
    """A state that somebody read: at some moment after `since_seq`/`since_at` and before `seq`/`at`."""

    row: Mapping[str, Any]
    reader: Reader
    seq: int
    at: float
    since_seq: int | None
    since_at: float

    @property
    def status(self) -> str:
        return str(self.row.get("status"))

    def is_before(self, other: Read) -> bool:
        """Whether this state was read before the other one was, for certain: rows and snapshots come from one reader, in the order
        of its reads; of others, when this one had ended before the other began."""
        if "rest" not in (self.reader, other.reader):
            return self.seq < other.seq
        if other.since_seq is not None:
            return self.seq < other.since_seq
        return self.at < other.since_at


@dataclass(frozen=True, slots=True)
class Task:
    """A task by its id: `messages` are all copies, first seen first."""

    task_id: str
    agent: str
    input: Any
    key: str
    messages: tuple[Event, ...]

    @property
    def first(self) -> Event:
        return self.messages[0]


@dataclass(frozen=True, slots=True)
class Row:
    """A step row through time: (seq, row) whenever it was seen; `latest` is the last of them."""

    id: Any
    seen: tuple[tuple[int, Mapping[str, Any]], ...]

    @property
    def latest(self) -> Mapping[str, Any]:
        return self.seen[-1][1]

    @property
    def step(self) -> str:
        return str(self.latest.get("step_id"))

    @property
    def last_seq(self) -> int:
        return self.seen[-1][0]

    def first_seen(self, status: str) -> int | None:
        """seq of the first sight of a status."""
        return next((seq for seq, row in self.seen if row.get("status") == status), None)


@dataclass
class RunView:
    """All that is known of one run."""

    id: str
    history: History
    made: Event | None
    reads: list[Read] = field(default_factory=list)
    rest_steps: list[Event] = field(default_factory=list)
    snapshots: list[Event] = field(default_factory=list)
    results: list[Event] = field(default_factory=list)
    updates: list[Event] = field(default_factory=list)
    requests: list[Event] = field(default_factory=list)
    cancellations: list[Event] = field(default_factory=list)
    cancel_asks: list[Event] = field(default_factory=list)
    retry_asks: list[Event] = field(default_factory=list)
    task_messages: list[Event] = field(default_factory=list)
    _rows: dict[Any, list[tuple[int, Mapping[str, Any]]]] = field(default_factory=dict)

    def see_step(self, seq: int, row: Mapping[str, Any]) -> None:
        """Note a sight of a step's row."""
        self._rows.setdefault(row.get("id"), []).append((seq, row))

    @cached_property
    def rows(self) -> list[Row]:
        """Step rows, in the order of their first appearance."""
        return [Row(key, tuple(seen)) for key, seen in self._rows.items()]

    def rows_of(self, step: str) -> list[Row]:
        """The rows of one step."""
        return self._rows_by_step.get(step, [])

    @cached_property
    def _rows_by_step(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.step, []).append(row)
        return found

    @cached_property
    def plan(self) -> Plan | None:
        """The plan, when it is sound in its structure."""
        if self.made is None:
            return None
        try:
            return Plan.of(self.made["plan"])
        except NotAPlan:
            return None

    @cached_property
    def input(self) -> Any:
        """What the run was started with."""
        return {} if self.made is None or self.made["input"] is None else self.made["input"]

    @cached_property
    def tasks(self) -> list[Task]:
        """The subject's tasks, first seen first. Copies that differ count by the first one seen (MSG-14 is judged apart)."""
        return _grouped(event for event in self.task_messages if event["by"] != "harness")

    @cached_property
    def all_tasks(self) -> list[Task]:
        """Tasks by whomever: what the bridge was asked for."""
        return _grouped(self.task_messages)

    @cached_property
    def is_retried(self) -> bool:
        """Whether a retry may have been accepted, by whatever way it was asked for."""
        return bool(self.retry_asks)

    @cached_property
    def resumes_from(self) -> list[str]:
        """Steps that retries named as resume_from_step."""
        found = []
        for event in self.retry_asks:
            given = event["body"] if event.kind == "request" else event["arguments"]
            given = (
                given if isinstance(given, Mapping) else event["value"] if isinstance(event["value"], Mapping) else {}
            )
            step = given.get("resume_from_step", given.get("from"))
            if step is not None:
                found.append(str(step))
        return found

    @property
    def last(self) -> Read | None:
        """The run as the database was last read."""
        return next((read for read in reversed(self.reads) if read.reader != "rest"), None)

    @property
    def final(self) -> str | None:
        """The run's last status, when it is a terminal one."""
        return self.last.status if self.last is not None and self.last.status in TERMINAL else None

    @cached_property
    def is_complete(self) -> bool:
        """Whether the run has ended and all its step rows were read after that, so that what has no row has none."""
        if self.final is None or self.last is None:
            return False
        end = next(self.history.of("end"), None)
        if end is not None and end["drained"] is True:
            return True
        seen = self.history.events[-1].at - self.last.at
        by_snapshot = any(
            snapshot["run_row"] is not None and snapshot["run_row"].get("status") in TERMINAL
            for snapshot in self.snapshots
        )
        return not self.is_retried and (by_snapshot or seen > LAG_SECONDS)

    @property
    def seqs(self) -> tuple[int, ...]:
        """The last read of the run's row, as proof."""
        return () if self.last is None else (self.last.seq,)

    def first_read(self, *statuses: str) -> Read | None:
        """The first read of one of these statuses."""
        return next((read for read in self.reads if read.status in statuses), None)


def _grouped(messages: Iterable[Event]) -> list[Task]:
    grouped: dict[str, list[Event]] = {}
    for event in messages:
        if isinstance(event["value"], Mapping):
            grouped.setdefault(str(event["value"].get("task_id")), []).append(event)
    found = []
    for task_id, events in grouped.items():
        value = events[0]["value"]
        agent, given = str(value.get("agent_name")), value.get("input_data")
        found.append(Task(task_id, agent, given, canonical([agent, given]), tuple(events)))
    return found


class Views:
    """A history put in order."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.runs: dict[str, RunView] = {run: RunView(run, history, event) for run, event in history.runs.items()}
        self._aliases = {str(event["alias"]): run for run, event in history.runs.items()}
        self.disturbances: list[Event] = []
        self.requests: dict[Any, Event] = {}
        self.answers: dict[Any, Event] = {}
        self._acts: list[Event] = []
        self._asked_by_rest: set[tuple[str, str]] = set()
        for event in history:
            self._sort(event)
        for event in self._acts:
            self._sort_act(event)

    def _sort(self, event: Event) -> None:
        if (event.source == "process" and event.kind in _DISTURBING) or (
            event.kind == "act" and event["act"] in _DISTURBING_ACTS
        ):
            self.disturbances.append(event)
        elif event.source == "rest":
            (self.requests if event.kind == "request" else self.answers)[event["request"]] = event
            self._sort_rest(event)
        elif event.kind == "act" and event["act"] in ("retry", "cancel"):
            self._acts.append(event)
        elif event.run in self.runs:
            self._sort_of_run(event, self.runs[event.run])

    def _sort_act(self, event: Event) -> None:
        """A retry or cancellation that was made over REST is known by its request, and counts as that one alone."""
        arguments = event["arguments"] if isinstance(event["arguments"], Mapping) else {"run": event["arguments"]}
        name = str(arguments.get("run"))
        run = self.runs.get(event.run or self._aliases.get(name, name))
        via = arguments.get("via")
        if run is None or (via in (None, "rest") and (run.id, event["act"]) in self._asked_by_rest):
            return
        (run.retry_asks if event["act"] == "retry" else run.cancel_asks).append(event)

    def _sort_of_run(self, event: Event, run: RunView) -> None:
        if event.kind == "run_row":
            row = event["row"]
            if row is not None:
                run.reads.append(Read(row, "poll", event.seq, event.at, None, event.at - LAG_SECONDS))
        elif event.kind == "step_row":
            if event["row"] is not None:
                run.see_step(event.seq, event["row"])
        elif event.kind == "snapshot":
            run.snapshots.append(event)
            because = event["because"]
            if event["run_row"] is not None and isinstance(because, int) and 0 <= because < event.seq:
                since = self.history.events[because].at
                run.reads.append(Read(event["run_row"], "snapshot", event.seq, event.at, because, since))
            for row in event["step_rows"] or ():
                run.see_step(event.seq, row)
        elif event.kind == "message":
            kept = {
                "tasks": run.task_messages,
                "results": run.results,
                "updates": run.updates,
                "requests": run.requests,
                "cancellations": run.cancellations,
            }.get(event["topic"])
            if kept is not None:
                kept.append(event)

    def _sort_rest(self, event: Event) -> None:
        request = self.requests.get(event["request"])
        if request is None:
            return
        run, _, rest = str(request["path"]).partition("?")[0].partition("/runs/")[2].partition("/")
        view = self.runs.get(run)
        if view is None:
            return
        word = (request["method"], rest.rstrip("/"))
        if event.kind == "request":
            if word in (("POST", "retry"), ("POST", "cancel")):
                self._asked_by_rest.add((run, word[1]))
                (view.retry_asks if word[1] == "retry" else view.cancel_asks).append(event)
            return
        if 400 <= int(event["status"] or 0) < 500 and word in (("POST", "retry"), ("POST", "cancel")):
            # What was refused did nothing. Whatever was not answered, or with 5xx, may have been done.
            asks = view.retry_asks if word[1] == "retry" else view.cancel_asks
            asks[:] = [ask for ask in asks if ask is not request]
        elif word == ("GET", "") and event["status"] == 200 and isinstance(event["body"], Mapping):
            view.reads.append(Read(event["body"], "rest", event.seq, event.at, request.seq, request.at))
        elif word == ("GET", "steps") and event["status"] == 200:
            view.rest_steps.append(event)

    def plays(self, role: str) -> bool:
        """Whether the subject has this role. `begin` names the subject's roles; without it, all are taken for its own."""
        begin = self.history.begin
        roles = None if begin is None else begin["roles"]
        return roles is None or role in roles

    def is_calm(self, before: Event | None = None) -> bool:
        """Whether nothing was killed, stopped, paused or taken away, up to an event or ever."""
        return not self.disturbances or (before is not None and before.seq < self.disturbances[0].seq)

    @cached_property
    def end(self) -> Event | None:
        return next(self.history.of("end"), None)

    def was_waited_for(self, run: str) -> bool:
        """Whether the end of the history says that this run was waited for."""
        waited = None if self.end is None else self.end["waited"]
        return waited is True or (isinstance(waited, list | tuple) and run in waited)

    @property
    def is_drained(self) -> bool:
        """Whether all topics were read to their ends once the rows had come to rest, so that absence is proof."""
        return self.end is not None and self.end["drained"] is True

    def of_plans(self) -> Iterator[tuple[RunView, Plan]]:
        """Runs with a sound plan, when the subject has the executor."""
        if self.plays("consumer"):
            for run in self.runs.values():
                if run.plan is not None:
                    yield run, run.plan

    @cached_property
    def calls(self) -> list[tuple[Event, Event | None]]:
        """Calls of agents, each with its answer."""
        answers = {event["call"]: event for event in self.history if event.source == "agent" and event.kind == "answer"}
        return [(event, answers.get(event["call"])) for event in self.history.of("call")]

    @cached_property
    def calls_of_task(self) -> dict[str, list[tuple[Event, Event | None]]]:
        found: dict[str, list[tuple[Event, Event | None]]] = {}
        for call, answer in self.calls:
            found.setdefault(str(call["task_id"]), []).append((call, answer))
        return found

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Every task, by whomever, by its id; the first run that used it."""
        found: dict[str, Task] = {}
        for run in self.runs.values():
            for task in run.all_tasks:
                found.setdefault(task.task_id, task)
        return found


def views(history: History) -> Views:
    """The views of a history. They are kept beside its own cached views, since every checker asks for them."""
    kept = history.__dict__.get(_SOURCE_VIEWS)
    if kept is None:
        kept = Views(history)
        history.__dict__[_SOURCE_VIEWS] = kept
    assert isinstance(kept, Views)
    return kept
