"""What a scripted agent's answers come to, as a bridge has to read them (contract, section 5, AGT-05 to AGT-15).

Agents are those of scenario files: a script, or a mapping with `script`, `per`, `retry_config` and so on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.oracle.wildcards import Said, Undecided, is_fixed
from harness.scenario import matchers

Entry = Mapping[str, Any]

_MOST_RETRIES = 3
"""What the harness gives an agent whose file says nothing (docs/harness.md)."""

_SURELY_TOO_LONG = 2
"""How many times an agent's time-out a call has to take for it to be sure to time out."""

_MUST_FAIL = "failed"
_MAY_FAIL = ("canceled", "rejected")


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes of a task. `calls` is how many calls that took, `said` what the error_message has to hold, and `seconds`
    the least time until it is there: infinite when it never is."""

    succeeded: bool
    output: Any = None
    said: str = ""
    calls: int = 1
    seconds: float = 0.0


@dataclass(frozen=True)
class AgentScript:
    """An agent of a scenario as the oracle needs it."""

    name: str
    entries: Sequence[Entry]
    per_task: bool
    most_retries: int
    is_known: bool
    timeout_seconds: float | None = None
    """None: as long as the harness gives an agent whose file says nothing, which is for ever as runs go."""

    @classmethod
    def of(cls, name: str, written: Any) -> AgentScript:
        """From its form in the file."""
        long: Mapping[str, Any] = written if isinstance(written, Mapping) else {"script": written}
        return cls(
            name,
            list(long["script"]),
            long.get("per") == "task",
            int((long.get("retry_config") or {}).get("max_retries", _MOST_RETRIES)),
            bool(long.get("registered", True)) and long.get("status", "active") == "active",
            long["timeout_ms"] / 1000 if "timeout_ms" in long else None,
        )

    @property
    def is_pure(self) -> bool:
        """Whether equal tasks get equal answers, in whatever order and however often they are asked."""
        return self.per_task or len(self.entries) == 1

    @property
    def is_repeatable(self) -> bool:
        """Whether a task has the same answer however many calls for it were made before, and by a bridge that died since."""
        if not self.per_task:
            return len(self.entries) == 1
        try:
            told = [self._from(first, {}) for first in range(len(self.entries))]
        except Undecided:
            return False
        return len({(one.succeeded, repr(one.output)) for one in told}) == 1

    def answer(self, input_data: Any, calls_before: int) -> Answer:
        """The outcome of a task that is given to the bridge once. Raises Undecided."""
        return self._from(0 if self.per_task else calls_before, input_data)

    def _from(self, first: int, input_data: Any) -> Answer:
        if not self.is_known:
            return Answer(False, said=self.name, calls=0)
        seconds = 0.0
        for call in range(self.most_retries + 1):
            entry = self.entries[min(first + call, len(self.entries) - 1)]
            answer, is_retried = self._in_time(*_of_entry(entry, input_data))
            seconds += answer.seconds
            if not is_retried or call == self.most_retries:
                return Answer(answer.succeeded, answer.output, answer.said, call + 1, seconds)
        raise AssertionError("the last try returns")

    def _in_time(self, answer: Answer, is_retried: bool) -> tuple[Answer, bool]:
        """What a call comes to whose answer takes so long (AGT-15): one that has timed out is made again (AGT-11)."""
        if self.timeout_seconds is None or answer.seconds * _SURELY_TOO_LONG < self.timeout_seconds:
            return answer, is_retried
        if answer.seconds < self.timeout_seconds * _SURELY_TOO_LONG:
            raise Undecided("whether a call times out depends on a race")
        return Answer(False, seconds=self.timeout_seconds), True


def _of_entry(entry: Entry, input_data: Any) -> tuple[Answer, bool]:
    """What one call comes to, and whether the bridge has to call again (AGT-11)."""
    ((word, argument),) = entry.items()
    match word:
        case "ok":
            return _of_result(argument), False
        case "echo":
            return Answer(True, {"echo": input_data}), False
        case "fail":
            # AGT-09 demands that the message says so, not that it has the agent's words.
            return Answer(False), False
        case "rpc_error":
            return Answer(False, said=argument["message"]), False
        case "status":
            code = int(argument["code"] if isinstance(argument, Mapping) else argument)
            return Answer(False, said=str(code)), _is_retried(code)
        case "body":
            return _of_body(argument), False
        case "slow":
            answer, is_retried = _of_entry(argument.get("then", {"echo": True}), input_data)
            waited = answer.seconds + argument["seconds"]
            return Answer(answer.succeeded, answer.output, answer.said, seconds=waited), is_retried
        case "held":
            return _of_entry(argument, input_data)
        case "hang":
            return Answer(False, seconds=float("inf")), False
        case "reset":
            return Answer(False), True
        case "if":
            if not is_fixed(input_data):
                raise Undecided("an agent's answer depends on a value that is left open")
            fits = matchers.matches(argument["input"], input_data, {}) is None
            return _of_entry(argument["then"] if fits else argument["else"], input_data)
    raise Undecided(f"the oracle does not know what an agent does that is told {word!r}")


def _is_retried(code: int) -> bool:
    return code == 429 or code >= 500


def _of_result(result: Mapping[str, Any] | None) -> Answer:
    if result is None:
        # No agent of a scenario answers so, and a result in the bridge's place may (CMP-14).
        return Answer(True, None)
    status = result.get("status")
    state = status.get("state") if isinstance(status, Mapping) else None
    if state in _MAY_FAIL:
        raise Undecided("AGT-23 is a SHOULD")
    if state == _MUST_FAIL:
        return Answer(False)
    output = dict(result)
    artifacts = result.get("artifacts")
    if isinstance(artifacts, list) and "text" not in result:
        output["text"] = _text_of(artifacts)
    return Answer(True, output)


def _text_of(artifacts: list[Any]) -> str | Said:
    """AGT-06: the text parts in order, joined by line feeds."""
    try:
        return "\n".join(
            part["text"] for artifact in artifacts for part in artifact["parts"] if part.get("kind") == "text"
        )
    except (TypeError, LookupError, AttributeError):
        return Said()


def _of_body(text: str) -> Answer:
    """AGT-10: what is no JSON-RPC is a failure. A body cannot name the task's id, so that it is never an answer."""
    try:
        answer = json.loads(text)
    except ValueError:
        return Answer(False)
    if isinstance(answer, dict) and "result" in answer and answer.get("jsonrpc") == "2.0":
        raise Undecided("AGT-24 is a SHOULD")
    return Answer(False)
