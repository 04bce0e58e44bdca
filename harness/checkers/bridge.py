"""The bridge: what it calls, how often, and what it makes of the answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.view import Task, Views, views
from harness.history import Event, History
from harness.oracle.values import canonical, same
from harness.verdict import Finding

Calls = list[tuple[Event, Event | None]]

_DEFAULTS = {"max_retries": 3, "initial_delay_ms": 1000, "max_delay_ms": 30000, "backoff_multiplier": 2}
_IMPROBABLE = 1e-6
_SURELY_IN_TIME_MS = 5000


def _called(seen: Views) -> Iterator[tuple[str, Task, Calls]]:
    """(run, task, calls) of every task of which calls were seen, when the subject has the bridge."""
    if not seen.plays("bridge"):
        return
    for run in seen.runs.values():
        for task in run.all_tasks:
            calls = seen.calls_of_task.get(task.task_id)
            if calls:
                yield run.id, task, calls


def _copies(seen: Views, run: str, task: Task) -> int:
    """How often the task was published, by whomever: the bridge may ask anew for each."""
    return seen.runs[run].copies_of_task[task.task_id]


def _headers(history: History) -> list[Finding]:
    """A call without the task's correlation id (AGT-03), or with an Idempotency-Key that is not the task's id (AGT-04).

    Sound because a call names its task by the id of the request. The Idempotency-Key is an extension: none is not missed, but
    one that is sent must be the task's, or deduplicating agents are misled. Copies of a task that differ in their
    correlation id are left out.
    """
    found = []
    seen = views(history)
    for run, task, calls in _called(seen):
        ids = {message["value"].get("correlation_id") for message in task.messages}
        for call, _ in calls:
            if len(ids) == 1 and call["correlation_id"] not in ids:
                found_id, wanted = call["correlation_id"], next(iter(ids))
                explanation = f"the call for task {task.task_id} has the correlation id {found_id!r}, not {wanted!r}"
                events = (task.first.seq, call.seq)
                found.append(Finding("call_headers", "AGT-03", "wrong correlation id", explanation, events, run))
                break
            if call["idempotency_key"] is not None and call["idempotency_key"] != task.task_id:
                explanation = f"the call for task {task.task_id} has the Idempotency-Key {call['idempotency_key']!r}"
                events = (task.first.seq, call.seq)
                found.append(Finding("call_headers", "AGT-04", "wrong idempotency key", explanation, events, run))
                break
    return found


def _retries(history: History) -> list[Finding]:
    """A call is repeated that must not be, or more often than the agent's retry_config allows.

    Judged in histories in which nothing was disturbed, for tasks that were published once, so that every call is the bridge's
    own decision. A call that the agent answered with 4xx other than 429 (AGT-12), or with a JSON-RPC result or error, which
    is an answer (AGT-11), is the last one, unless its caller had left before, or may have: an agent whose record gives it little
    time may answer in the moment in which that is over. The number of calls is judged only where the history tells the agent's
    retry_config.
    """
    found = []
    seen = views(history)
    if not seen.is_calm():
        return []
    for run, task, calls in _called(seen):
        if _copies(seen, run, task) != 1:
            continue
        for (call, answer), (again, _) in pairwise(calls) if not _is_hurried(seen, task) else ():
            is_answer = answer is not None and answer["ending"] == "answered" and answer.seq < again.seq
            clause = _final(answer) if answer is not None and is_answer else None
            if answer is not None and clause is not None:
                explanation = (
                    f"agent {call['agent']} answered task {task.task_id} with {answer['status']}, and was called again"
                )
                proof = (call.seq, answer.seq, again.seq)
                found.append(Finding("retries", clause, "repeated without need", explanation, proof, run))
                break
        config = _config(seen, task)
        if config is not None and len(calls) > 1 + config["max_retries"]:
            explanation = (
                f"task {task.task_id} was called {len(calls)} times, and max_retries is {config['max_retries']}"
            )
            events = (task.first.seq, calls[-1][0].seq)
            found.append(Finding("retries", "AGT-11", "too many retries", explanation, events, run))
    return found


def _is_hurried(seen: Views, task: Task) -> bool:
    """Whether an agent has so little time that a busy machine may use it up."""
    timeout_ms = (seen.agent_records.get(task.agent) or {}).get("timeout_ms")
    return isinstance(timeout_ms, int) and timeout_ms < _SURELY_IN_TIME_MS


def _final(answer: Event) -> str | None:
    """The clause by which an answer ends its task, or None when the call may be made again."""
    status = int(answer["status"] or 0)
    if 400 <= status < 500 and status not in (408, 429):
        return "AGT-12"
    is_rpc = isinstance(answer["output"], Mapping) or isinstance(answer["error"], Mapping)
    return "AGT-11" if status == 200 and is_rpc else None


def _config(seen: Views, task: Task) -> Mapping[str, Any] | None:
    """The agent's retry_config with the contract's defaults, as far as the history tells it."""
    record = seen.agent_records.get(task.agent)
    if not isinstance(record, Mapping):
        return None
    given = record.get("retry_config")
    return {**_DEFAULTS, **(given if isinstance(given, Mapping) else {})}


def _backoff(history: History) -> list[Finding]:
    """Retries follow one another as if there were no pause (AGT-14).

    The contract gives upper bounds and wants randomness, so one short pause proves nothing. Taken together they do: under full
    jitter, the shortest that is legal, the pauses divided by their bounds are uniform, and the probability that a product of
    n of them is as small as x is x * sum of (-ln x)^k / k! for k < n. Below one in a million the bridge is accused. A pause is
    measured from the end of a call to the next one, so that whatever delays it speaks for the bridge.
    """
    seen = views(history)
    ratios: list[tuple[float, int]] = []
    for run, task, calls in _called(seen):
        config = _config(seen, task)
        if config is None or config["initial_delay_ms"] < 50 or _copies(seen, run, task) != 1 or not seen.is_calm():
            continue
        for number, ((_, answer), (again, _)) in enumerate(pairwise(calls)):
            if answer is None or answer["ending"] == "caller left" or answer.seq > again.seq:
                continue
            bound_ms = min(config["max_delay_ms"], config["initial_delay_ms"] * config["backoff_multiplier"] ** number)
            if bound_ms > 0:
                ratios.append((min(1.0, max((again.at - answer.at) * 1000, 0.001) / bound_ms), again.seq))
    product = math.prod(ratio for ratio, _ in ratios)
    if not ratios or product >= 1.0:
        return []
    log = -math.log(max(product, 1e-300))
    probability = math.exp(-log) * sum(log**k / math.factorial(k) for k in range(min(len(ratios), 150)))
    if probability >= _IMPROBABLE:
        return []
    explanation = (
        f"{len(ratios)} retries came so soon that chance explains it once in {1 / max(probability, 1e-300):.0f} cases"
    )
    return [Finding("backoff", "AGT-14", "no backoff", explanation, tuple(seq for _, seq in ratios[:4]))]


def _answers(history: History) -> list[Finding]:
    """A result that its agent's answers do not give.

    A SUCCESS needs a call of the task that was answered with a JSON-RPC result whose state is not failed, and its output has the
    members of that result (AGT-05); the text of artifacts is judged by scenarios. Sound because the agents are the
    harness's own, and note every answer before it leaves: an answer that is not there was not given. A FAILURE is never
    accused: a bridge may have stopped waiting, or found something in the answer that the history does not show. A text of
    the answer that repeats a value of the agent's auth_config may have become any other, since AGT-20 wants it hidden.
    """
    found = []
    seen = views(history)
    if not seen.plays("bridge") or not seen.calls:
        return []
    for run in seen.runs.values():
        for event in run.results:
            value = event["value"] if isinstance(event["value"], Mapping) else {}
            task = seen.tasks.get(str(value.get("task_id")))
            if event["by"] == "harness" or task is None:
                continue
            calls = [one for one in seen.calls_of_task.get(task.task_id, []) if one[0].seq < event.seq]
            good = [a for _, a in calls if a is not None and a.seq < event.seq and _is_success(a)]
            wrong = _wrong_answer(value, calls, good, _secrets(seen, task))
            if wrong is not None:
                clause, why = wrong
                proof = (task.first.seq, *(a.seq for _, a in calls[-1:] if a is not None), event.seq)
                explanation = f"the result of task {task.task_id} is {value.get('status')}, {why}"
                found.append(Finding("answers", clause, "result not of the answer", explanation, proof, run.id))
    return found


def _wrong_answer(
    value: Mapping[str, Any], calls: Calls, good: list[Event], secrets: tuple[str, ...]
) -> tuple[str, str] | None:
    if value.get("status") == "SUCCESS":
        if not good:
            failed = [a for _, a in calls if a is not None and _is_failed_state(a)]
            clause = (
                "AGT-09" if failed else "AGT-08" if any(a is not None and a["error"] for _, a in calls) else "AGT-05"
            )
            return clause, f"and none of {len(calls)} calls for it was answered with a success"
        output = value.get("output_data")
        if not isinstance(output, Mapping) or not any(_holds(output, answer["output"], secrets) for answer in good):
            return "AGT-05", "and its output does not have the members of the agent's result"
    return None


def _secrets(seen: Views, task: Task) -> tuple[str, ...]:
    """The values of the auth_config of a task's agent."""
    config = (seen.agent_records.get(task.agent) or {}).get("auth_config")
    return tuple(text for text in config.values() if isinstance(text, str) and text) if config else ()


def _holds(found: Any, answered: Any, secrets: tuple[str, ...], *, is_output: bool = True) -> bool:
    """Whether what was found is what was answered, but for texts with a secret in them; an output may have further members."""
    if isinstance(answered, str) and any(secret in answered for secret in secrets):
        return True
    if not secrets and not is_output:
        return same(found, answered)
    if isinstance(answered, Mapping):
        open_names = [name for name in answered if any(secret in name for secret in secrets)]
        return (
            isinstance(found, Mapping)
            and (is_output or bool(open_names) or len(found) == len(answered))
            and all(
                name in found and _holds(found[name], value, secrets, is_output=False)
                for name, value in answered.items()
                if name not in open_names
            )
        )
    if isinstance(answered, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(answered)
            and all(_holds(one, other, secrets, is_output=False) for one, other in zip(found, answered, strict=True))
        )
    return same(found, answered)


def _is_success(answer: Event) -> bool:
    if answer["status"] != 200 or not isinstance(answer["output"], Mapping) or answer["error"]:
        return False
    return not _is_failed_state(answer)


def _is_failed_state(answer: Event) -> bool:
    output = answer["output"]
    status = output.get("status") if isinstance(output, Mapping) else None
    return isinstance(status, Mapping) and status.get("state") in ("failed", "canceled", "rejected")


def _results(history: History) -> list[Finding]:
    """A result without its task's correlation id (MSG-16), or different results of one call (DEL-08).

    Copies of a result are legal everywhere. Results that differ need a call each: judged in histories in which nothing was
    disturbed, for tasks that were published and called once.
    """
    found = []
    seen = views(history)
    if not seen.plays("bridge"):
        return []
    for run in seen.runs.values():
        own: dict[str, list[Event]] = {}
        for event in run.results:
            if event["by"] != "harness" and isinstance(event["value"], Mapping):
                own.setdefault(str(event["value"].get("task_id")), []).append(event)
        for task in run.all_tasks:
            results = own.get(task.task_id, [])
            ids = {message["value"].get("correlation_id") for message in task.messages}
            wrong = next((e for e in results if len(ids) == 1 and e["value"].get("correlation_id") not in ids), None)
            if wrong is not None:
                explanation = (
                    f"the result of task {task.task_id} has the correlation id {wrong['value'].get('correlation_id')!r}"
                )
                events = (task.first.seq, wrong.seq)
                found.append(Finding("results", "MSG-16", "wrong correlation id", explanation, events, run.id))
            said = {canonical([event["value"].get("status"), event["value"].get("output_data")]) for event in results}
            once = _copies(seen, run.id, task) == 1 and len(seen.calls_of_task.get(task.task_id, ())) == 1
            if len(said) > 1 and once and seen.is_calm():
                explanation = (
                    f"task {task.task_id} was published and called once, and has {len(said)} different results"
                )
                proof = (task.first.seq, *(event.seq for event in results[:2]))
                found.append(Finding("results", "DEL-08", "several results", explanation, proof, run.id))
    return found


CHECKERS = (
    Checker(
        "call_headers",
        "A call carries its task's correlation id, and no other Idempotency-Key than the task's id.",
        ("AGT-03", "AGT-04"),
        _headers,
        ("agent", "kafka"),
    ),
    Checker(
        "retries",
        "A call is repeated only after what may be retried, and as often as the agent's retry_config says.",
        ("AGT-11", "AGT-12"),
        _retries,
        ("agent", "kafka"),
    ),
    Checker("backoff", "Retries pause as the agent's retry_config says.", ("AGT-14",), _backoff, ("agent", "kafka")),
    Checker(
        "answers",
        "A result is what the agent answered.",
        ("AGT-05", "AGT-08", "AGT-09"),
        _answers,
        ("agent", "kafka"),
    ),
    Checker(
        "results",
        "A result carries its task's correlation id, and one call has one result.",
        ("MSG-16", "DEL-08"),
        _results,
        ("kafka",),
    ),
)
