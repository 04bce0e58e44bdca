"""The hostile trial: thousands of messages and bodies that are not valid, on every topic and route, with good runs among them.

What must hold: no process dies, nothing answers 5xx, every good run COMPLETES, and every bad message is set aside with a
reason (where the subject sets messages aside: an extension).
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from kafka import KafkaProducer

from harness.client import ApiClient
from harness.trials.bench import Bench, await_ends, bench, read_all_raw, statuses

_TOPICS = {
    "workflow.execution.requests": "execution_request",
    "workflow.cancellation.requests": "cancellation_request",
    "results.topic": "agent_result",
    "orchestrator.tasks.http": "agent_task",
}
_DEADLINE_SECONDS = 180.0
_GOOD_RUNS = 100
_WORKERS = 4


@dataclass
class Verdict:
    """What the trial saw: bad messages sent and set aside by topic, answers of the API by status."""

    sent: dict[str, int]
    set_aside: dict[str, int]
    answers: dict[str, int]
    good_runs: dict[str, int]
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.faults


def run(
    subject_file: Path,
    *,
    messages: int = 10_000,
    bodies: int = 10_000,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Verdict:
    """Run the trial on a stack of its own; `messages` are sent to each topic, `bodies` to the API."""
    with bench(subject_file, {"consumer": 2, "bridge": 1, "api": 1}, {"LOG_LEVEL": "ERROR"}) as place:
        sent = _flood_topics(place, messages, seed, say)
        answers = _flood_api(place, bodies, seed, say)
        good = _good_runs(place)
        aside = _set_aside(place, sent, say)
        verdict = Verdict(
            {topic: len(keys) for topic, keys in sent.items()},
            {topic: len(found) for topic, found in aside.items()},
            {str(status): count for status, count in sorted(answers.items())},
            statuses(place, good),
        )
        verdict.faults += [f"{process.name} died" for process in place.subject.died()]
        verdict.faults += [f"{count} answers were {status}" for status, count in answers.items() if status >= 500]
        if verdict.good_runs != {"COMPLETED": len(good)}:
            verdict.faults.append(f"not every good run is COMPLETED: {verdict.good_runs}")
        for topic, keys in sent.items():
            missing = keys - aside[topic].keys()
            if missing:
                verdict.faults.append(
                    f"{len(missing)} bad messages of {topic} are on no DLQ, such as {sorted(missing)[:3]}"
                )
            silent = [key for key, reason in aside[topic].items() if not reason]
            if silent:
                verdict.faults.append(f"{len(silent)} messages of {topic} were set aside without a reason")
        return verdict


def _flood_topics(place: Bench, messages: int, seed: int, say: Callable[[str], None]) -> dict[str, set[bytes]]:
    """Send bad messages to each topic; returns the keys that they were sent under, each its own."""
    producer = KafkaProducer(
        bootstrap_servers=place.stack.kafka_brokers, acks="all", linger_ms=5, max_request_size=2_000_000
    )
    sent: dict[str, set[bytes]] = {topic: set() for topic in _TOPICS}
    try:
        for topic, kind in _TOPICS.items():
            source = random.Random(f"{seed} {topic}")
            pending = {}
            for number in range(messages):
                key = f"bad-{number}".encode()
                pending[key] = producer.send(topic, key=key, value=bad_message(kind, source))
            producer.flush()
            for key, future in pending.items():
                # Only what Kafka has taken can be expected on a DLQ.
                future.get(timeout=60)
                sent[topic].add(key)
            say(f"{messages} bad messages sent to {topic}")
    finally:
        producer.close()
    return sent


def bad_message(kind: str, source: random.Random) -> bytes | None:
    """One value that no reader may take for a message of that kind."""
    choice = source.randrange(10)
    if choice == 0:
        return source.choice((None, b"", b" ", b"null", b"[]", b"42", b'"text"', b"true"))
    if choice == 1:
        return source.randbytes(source.randrange(1, 200))
    if choice == 2:
        return b"[" * source.choice((10, 1000, 100_000))
    if choice == 3:
        return b'{"a":' * source.choice((10, 1000, 50_000)) + b"1"
    good = _good_message(kind)
    text = json.dumps(good).encode()
    if choice == 4:
        return text[: source.randrange(1, len(text) - 1)]
    if choice == 5:
        return text.replace(b'"timestamp"', b'"timestamp\xff"')
    required = [name for name in good if name not in ("reason", "cancelled_by", "output_data", "error_message")]
    name = source.choice(required)
    if choice == 6:
        del good[name]
    elif choice == 7:
        good[name] = source.choice((None, 17, 1.5, True, [], [good[name]]))
    elif choice == 8:
        good["timestamp"] = source.choice(("", "yesterday", "2024-13-45T99:99:99Z", 1700000000, "\u0000"))
    else:
        good["run_id"] = source.choice(("", [], {"a": 1}, None, 0, False))
    return json.dumps(good).encode()


def _good_message(kind: str) -> dict[str, Any]:
    run_id, now = f"run-{uuid.uuid4()}", "2030-01-01T00:00:00+00:00"
    if kind == "execution_request":
        plan = {
            "workflow_id": "wf-x-1",
            "name": "x",
            "version": "1",
            "start_step": "a",
            "steps": {"a": {"id": "a", "agent_name": "x"}},
        }
        return {"run_id": run_id, "workflow_plan": plan, "input_data": {}, "timestamp": now, "message_type": kind}
    if kind == "cancellation_request":
        return {"run_id": run_id, "cancelled_by": None, "reason": None, "timestamp": now, "message_type": kind}
    task = {"run_id": run_id, "task_id": str(uuid.uuid4()), "correlation_id": run_id, "timestamp": now}
    if kind == "agent_task":
        return {**task, "agent_name": "nobody", "input_data": {}}
    return {**task, "status": "SUCCESS", "output_data": {}, "error_message": None}


def _flood_api(place: Bench, bodies: int, seed: int, say: Callable[[str], None]) -> Counter[int]:
    """Send hostile bodies to every route that takes one; returns how often each status was answered."""
    base = f"{place.subject.api_url}/api/v1"
    run_id = f"run-{uuid.uuid4()}"
    routes = [
        ("POST", f"{base}/workflows"),
        ("PUT", f"{base}/workflows/{place.workflow_id}"),
        ("POST", f"{base}/workflows/{place.workflow_id}/execute"),
        ("POST", f"{base}/runs/{run_id}/cancel"),
        ("POST", f"{base}/runs/{run_id}/retry"),
        ("POST", f"{base}/agents"),
        ("POST", f"{base}/workflows/%00/execute"),
    ]

    def some(part: int) -> Counter[int]:
        source = random.Random(f"{seed} api {part}")
        found: Counter[int] = Counter()
        with requests.Session() as session:
            for _ in range(bodies // _WORKERS):
                method, url = source.choice(routes)
                answer = session.request(method, url, data=hostile_body(source), headers=_headers(source), timeout=30)
                found[answer.status_code] += 1
        return found

    answers: Counter[int] = Counter()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for found in pool.map(some, range(_WORKERS)):
            answers.update(found)
    say(f"{sum(answers.values())} hostile bodies sent to the API: {dict(answers)}")
    return answers


def hostile_body(source: random.Random) -> bytes:
    """A body that is broken, or JSON of a shape and content that nobody expects."""
    choice = source.randrange(4)
    if choice == 0:
        return bad_message("execution_request", source) or b""
    if choice == 1:
        return source.randbytes(source.randrange(0, 2000))
    document: dict[str, Any] = {
        "name": _odd(source, 3),
        "start_step": _odd(source, 2),
        "steps": source.choice(
            (_odd(source, 4), {"a": _odd(source, 3)}, {"a": {"id": "a", "agent_name": _odd(source, 1)}})
        ),
        "input_data": _odd(source, 4),
        "url": _odd(source, 1),
        "resume_from_step": _odd(source, 1),
    }
    kept = source.sample(list(document), source.randrange(1, len(document)))
    return json.dumps({name: document[name] for name in kept}).encode()


def _odd(source: random.Random, depth: int) -> Any:
    scalars: Iterator[Any] = iter(
        (None, True, -1, 0, 2**70, 1e308, "", "\u0000", "\ud800", "a" * 5000, "${", "$.x.output_data", "é😀")
    )
    choice = source.randrange(5)
    if depth and choice == 0:
        return [_odd(source, depth - 1) for _ in range(source.randrange(4))]
    if depth and choice == 1:
        return {str(_odd(source, 0))[:50]: _odd(source, depth - 1) for _ in range(source.randrange(4))}
    return source.choice(list(scalars))


def _headers(source: random.Random) -> dict[str, str]:
    kinds = ("application/json",) * 6 + ("text/plain", "application/xml", "", "application/json; charset=utf-16")
    headers = {"Content-Type": source.choice(kinds)}
    if source.random() < 0.1:
        headers["Idempotency-Key"] = source.choice(("", "x" * 4000, "\x7f", "a,b"))
    return headers


def _good_runs(place: Bench) -> list[str]:
    """Runs submitted behind all that was bad; returns once they have ended, or time is over."""
    with ApiClient(place.subject.api_url) as client:
        run_ids = [client.execute(place.workflow_id, {"n": number})["run_id"] for number in range(_GOOD_RUNS)]
    await_ends(place, run_ids, _DEADLINE_SECONDS)
    return run_ids


def _set_aside(place: Bench, sent: dict[str, set[bytes]], say: Callable[[str], None]) -> dict[str, dict[bytes, bytes]]:
    """Topic → key → reason of what stands on its DLQ, waiting until all that was sent is there, or time is over."""
    aside: dict[str, dict[bytes, bytes]] = {topic: {} for topic in sent}
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        for topic in sent:
            for message in read_all_raw(place, f"{topic}.dlq"):
                aside[topic][message.key] = dict(message.headers).get("reason", b"")
        if all(keys <= aside[topic].keys() for topic, keys in sent.items()):
            break
        time.sleep(1.0)
    say(f"set aside: { {topic: len(found) for topic, found in aside.items()} }")
    return aside
