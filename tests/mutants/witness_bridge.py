"""What the bridge does on a battery of small cases, as plain values; see `witness_runs`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from system.bridge import agent, breaker, calls, dispatch, jobs, lanes, rpc
from system.bridge import messages as bridge_messages
from system.ports import Received

_NOW = datetime(2026, 1, 2, tzinfo=UTC)
_TASK = {
    "run_id": "run-1", "task_id": "task-1", "agent_name": "worker", "input_data": {"x": 1}, "correlation_id": "corr",
    "timestamp": "2026-01-02T03:04:05Z",
}  # fmt: skip
_RECORD = {
    "name": "worker", "url": "http://127.0.0.1:9/", "auth_type": "bearer", "auth_config": {"token": "secret-token"},
    "timeout_ms": 100, "retry_config": {"max_retries": 2, "initial_delay_ms": 1, "max_delay_ms": 2}, "status": "active",
}  # fmt: skip


def _task() -> bridge_messages.Task:
    return bridge_messages.decode_task(json.dumps(_TASK).encode())


def _answers() -> list[str]:
    """What each answer of an agent stands for."""
    artifacts = [{"parts": [{"kind": "text", "text": "a"}]}, {"parts": [{"kind": "text", "text": "b"}]}]
    results: list[Any] = [
        {"artifacts": artifacts, "more": 1}, {"more": 1}, {"status": {"state": "failed"}}, {"status": {"state": "rejected"}}, [1],
    ]  # fmt: skip
    bodies = [json.dumps({"jsonrpc": "2.0", "id": "task-1", "result": result}) for result in results]
    kinds: list[dict[str, Any]] = [{"error": {"code": 1, "message": "no"}}, {"result": {}}]
    bodies += [json.dumps({"jsonrpc": "2.0", "id": id_, **kind}) for id_ in ("task-1", "other") for kind in kinds]
    bodies += ["no JSON", "{}"]
    return [repr(rpc.interpret("worker", "task-1", body.encode())) for body in bodies]


def _messages() -> list[str]:
    """What is sent and read."""
    worker = agent.agent_from(_RECORD)
    told = [repr(rpc.request_body(_task())), repr(calls._headers(worker, _task()))]
    told.append(repr(bridge_messages.encode_result(_task(), bridge_messages.Outcome({"x": 1}), _NOW)))
    told += [worker.redacted("secret-token"), repr(worker.redacted_value({"a": "secret-token"}))]
    told += [repr(worker.retry.pause_seconds(retry, fraction)) for retry in (1, 5) for fraction in (0.5, 1.0)]
    for value in ({**_TASK, "more": 1}, {**_TASK, "input_data": 1}):
        told.append(_told(lambda value=value: bridge_messages.decode_task(json.dumps(value).encode())))  # type: ignore[misc]
    told.append(_told(lambda: agent.agent_from({**_RECORD, "status": "inactive"})))
    return told


class _Response:
    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        self.body = json.dumps({"jsonrpc": "2.0", "id": "task-1", "result": {}}).encode()
        self.content_length = len(self.body)

    async def read(self) -> bytes:
        return self.body


class _Session:
    """Stands in for aiohttp's: answers with a status, or never."""

    def __init__(self, status: int | None) -> None:
        self.status, self.open, self.most_open = status, 0, 0

    def post(self, *_: Any, **__: Any) -> _Session:
        return self

    async def __aenter__(self) -> _Response:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        # Longer than the agent's time-out, and short enough to be waited for by one that has none.
        await asyncio.sleep(0.3 if self.status is None else 0.005)
        return _Response(self.status or 200)

    async def __aexit__(self, *_: Any) -> None:
        self.open -= 1


async def _calls() -> list[str]:
    """How calls end, and how many are open together."""
    told = []
    for status in (200, 302, 404, 429, 503, None):
        caller = object.__new__(calls.Caller)
        caller._max_answer_bytes = 10_000
        session = _Session(status)
        caller._session = session  # type: ignore[assignment]
        worker = agent.agent_from(_RECORD)
        ended = await asyncio.gather(*(caller.call(worker, _task()) for _ in range(2)))
        told.append(f"{status}: {ended} {session.most_open}")
    return told


async def _lanes() -> list[str]:
    """How often an agent that is down is called, and what is said in the end; then two that share nothing."""
    told: list[str] = []
    tries: list[str] = []

    async def call(worker: Any, task: Any) -> Any:
        tries.append(task.agent_name)
        if worker.name == "down":
            return calls.Trouble("it is down", broken=True)
        return bridge_messages.Outcome({})

    def fresh(name: str) -> Any:
        return "not registered" if name == "unknown" else agent.agent_from({**_RECORD, "name": name})

    work = lanes.Lanes(
        lookup=SimpleNamespace(fresh=fresh),
        caller=SimpleNamespace(call=call),
        agent_concurrency=1,
        on_ended=lambda job, outcome: told.append(f"{job.task.agent_name}: {outcome}"),
        on_dropped=lambda job: told.append(f"{job.task.agent_name}: dropped"),
        on_paused=lambda: None,
        on_broken=lambda error: told.append(repr(error)),
        fraction=lambda: 0.0,
    )
    partition = jobs.Partition("t", 0, 0, 0)
    for number, name in enumerate(("unknown", *["down"] * 6, "up")):
        if name == "up":
            # Once the circuit of the agent that is down is open.
            await asyncio.sleep(0.1)
        task = bridge_messages.decode_task(json.dumps({**_TASK, "agent_name": name, "task_id": str(number)}).encode())
        job = jobs.Job(("run-1", str(number)), task, 1, asyncio.get_running_loop().time())
        job.positions = [(partition, number)]
        work.queue(job)
    await asyncio.sleep(0.1)
    await work.cancel()
    return [*sorted(told), repr(sorted(tries))]


async def _offsets() -> list[str]:
    """Which offsets count as done right after reading, and what becomes of a task that is not valid."""
    published: list[str] = []
    publisher = SimpleNamespace(publish=lambda message, _: published.append(message.topic), poll=lambda _: None)
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def call(*_: Any) -> Any:
        return await never

    dispatcher = dispatch.Dispatcher(
        publisher=publisher,
        lookup=SimpleNamespace(fresh=lambda _: agent.agent_from(_RECORD)),
        caller=SimpleNamespace(call=call),
        applied=SimpleNamespace(),
        results_topic="results",
        agent_concurrency=1,
        max_message_bytes=1_000_000,
        on_broken=lambda _: None,
    )
    dispatcher.assigned(0, {("tasks", 0): 0})
    dispatcher.accept([Received("tasks", 0, 0, None, json.dumps(_TASK).encode())])
    told = [repr(list(dispatcher.marks))]
    told.append(_told(lambda: dispatcher.accept([Received("tasks", 0, 1, None, b"{}")])))
    await dispatcher._lanes.cancel()
    return [*told, repr(published)]


def _circuit() -> list[str]:
    """What a circuit lets through after failures."""
    now = 0.0
    circuit = breaker.Breaker(lambda: now)
    told = []
    for _ in range(7):
        told.append(f"{circuit.admit()} {circuit.circuit}")
        circuit.failed()
    now = 1000.0
    told.append(f"{circuit.admit()} {circuit.circuit}")
    return told


def transcript() -> dict[str, str]:
    """Name of the case → all that came of it, as text."""
    told = {look.__name__: _told(look) for look in (_answers, _messages, _circuit)}
    works: tuple[Callable[[], Coroutine[Any, Any, list[str]]], ...] = (_calls, _lanes, _offsets)
    return told | {work.__name__: _told(lambda work=work: asyncio.run(work())) for work in works}  # type: ignore[misc]


def _told(look: Callable[[], Any]) -> str:
    try:
        return repr(look())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
