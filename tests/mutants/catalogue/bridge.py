"""Mutants of the bridge."""

from __future__ import annotations

from tests.mutants.catalogue import bridging
from tests.mutants.catalogue.transport import Name
from tests.mutants.mutant import Mutant, in_bridge
from tests.mutants.patching import Edit, Wrap

_CALLS = "system.bridge.calls"
_ENDED = "system.bridge.calls:Caller._ended"
_LANES = "system.bridge.lanes:Lanes"
_RETRY = "system.bridge.retry:RetryPolicy"
_RPC = "system.bridge.rpc"

BRIDGE: tuple[Mutant, ...] = (
    in_bridge(
        "client-errors-retried",
        "A call that was answered with 4xx is made again.",
        "AGT-12",
        Edit(_ENDED, "if status == 429 or status >= 500:", "if status >= 400:"),
    ),
    in_bridge(
        "server-errors-final",
        "A call that was answered with 5xx is not made again.",
        "AGT-11",
        Edit(_ENDED, "if status == 429 or status >= 500:", "if status == 429:"),
    ),
    in_bridge(
        "too-many-requests-final",
        "A call that was answered with 429 is not made again.",
        "AGT-11",
        Edit(_ENDED, "if status == 429 or status >= 500:", "if status >= 500:"),
    ),
    in_bridge(
        "time-outs-final",
        "A call that timed out is not made again.",
        "AGT-11",
        Edit(
            f"{_CALLS}:Caller._call",
            'return Trouble(f"{name} did not answer within',
            'return failure(f"{name} did not answer within',
        ),
        Edit(f"{_CALLS}:Caller._call", '* 1000:.0f} ms", broken=True)', '* 1000:.0f} ms")'),
        also=("AGT-15",),
    ),
    in_bridge(
        "time-out-is-success",
        "A call that timed out is a SUCCESS with an empty output.",
        "AGT-13",
        Edit(
            f"{_CALLS}:Caller._call",
            'return Trouble(f"{name} did not answer',
            'return Outcome({}) or Trouble(f"{name} did not answer',
        ),
        also=("AGT-15", "AGT-11"),
    ),
    in_bridge(
        "call-time-out-ignored",
        "A call has all the time that its agent wants.",
        "AGT-15",
        Edit(f"{_CALLS}:Caller._call", "asyncio.timeout(agent.timeout_seconds)", "asyncio.timeout(None)"),
        also=("AGT-11",),
    ),
    in_bridge(
        "one-try-too-many",
        "A call is made again once more often than max_retries says.",
        "AGT-11",
        Edit(
            f"{_LANES}._try", "if job.tries <= agent.retry.max_retries:", "if job.tries <= agent.retry.max_retries + 1:"
        ),
        also=("AGT-13",),
    ),
    in_bridge(
        "no-backoff",
        "A call is made again at once.",
        "AGT-14",
        Edit(f"{_RETRY}.pause_seconds", "pause = self.longest_pause_seconds(retry) * fraction", "return 0.0"),
    ),
    in_bridge(
        "backoff-unbounded",
        "max_delay_ms has no effect: pauses grow as long as initial_delay_ms and backoff_multiplier make them.",
        "AGT-14",
        Edit(f"{_RETRY}.longest_pause_seconds", "min(self.max_delay_ms, grown) / 1000", "grown / 1000"),
    ),
    in_bridge(
        "last-failure-untold",
        "When the retries run out the FAILURE says only that they did.",
        "AGT-13",
        Edit(f"{_LANES}._try", 'failure(f"{ended.message} (tried {times})")', 'failure("gave up")'),
    ),
    in_bridge(
        "rpc-error-is-success",
        "A JSON-RPC error is a SUCCESS.",
        "AGT-08",
        Edit(
            f"{_RPC}:interpret",
            'return failure(f"{agent} answered with an error: {_error_text(fault)}")',
            'return Outcome({"error": _error_text(fault), "text": ""})',
        ),
    ),
    in_bridge(
        "rpc-error-message-lost",
        "The FAILURE for a JSON-RPC error does not hold the error's message.",
        "AGT-08",
        Edit(f"{_RPC}:interpret", "answered with an error: {_error_text(fault)}", "answered with an error"),
    ),
    in_bridge(
        "failed-state-is-success",
        "A result whose state is failed is a SUCCESS.",
        "AGT-09",
        Edit(f"{_RPC}:_refusal", '("failed", "canceled", "rejected")', '("canceled", "rejected")'),
    ),
    in_bridge(
        "nonsense-is-success",
        "An answer that is no JSON-RPC is a SUCCESS with its text.",
        "AGT-10",
        Edit(
            f"{_RPC}:interpret",
            'return failure(f"{agent} did not answer with JSON-RPC: no JSON ({error}): {_excerpt(body)}")',
            'return Outcome({"text": _excerpt(body)})',
        ),
    ),
    in_bridge(
        "text-missing",
        "output_data has no text of the artifacts.",
        "AGT-06",
        Edit(f"{_RPC}:_output", 'return {**result, "text": "\\n".join(texts)}', "return result"),
    ),
    in_bridge(
        "text-of-the-first-artifact",
        "text holds the parts of the first artifact only.",
        "AGT-06",
        Edit(
            f"{_RPC}:_output", "for artifact in artifacts if isinstance", "for artifact in artifacts[:1] if isinstance"
        ),
    ),
    in_bridge(
        "members-lost",
        "output_data holds the text and none of the members of the result.",
        "AGT-05",
        Edit(f"{_RPC}:_output", 'return {**result, "text": "\\n".join(texts)}', 'return {"text": "\\n".join(texts)}'),
    ),
    in_bridge(
        "method-of-an-older-protocol",
        "Agents are called by the method tasks/send.",
        "AGT-01",
        Edit(f"{_RPC}:request_body", '"method": "message/send"', '"method": "tasks/send"'),
    ),
    in_bridge(
        "message-without-an-id",
        "The message of a call has no messageId.",
        "AGT-01",
        Edit(f"{_RPC}:request_body", '"messageId": task.task_id,', ""),
    ),
    in_bridge(
        "input-in-two-parts",
        "The message of a call has an empty part before that of the input.",
        "AGT-01",
        Edit(f"{_RPC}:request_body", '"parts": [', '"parts": [{"kind": "text", "text": ""}, '),
        also=("AGT-02",),
    ),
    in_bridge(
        "input-wrapped",
        "The text of the call is not the input itself but an object around it.",
        "AGT-02",
        Edit(
            f"{_RPC}:request_body",
            "json_values.dumps(task.input_data)",
            'json_values.dumps({"input": task.input_data})',
        ),
    ),
    in_bridge(
        "random-rpc-ids",
        "The id of the call is not the task_id.",
        "AGT-01",
        Edit(f"{_RPC}:request_body", '"id": task.task_id,', '"id": task.task_id[::-1],'),
        Edit(f"{_RPC}:interpret", 'if answer.get("id") != task_id and', 'if answer.get("id") != task_id[::-1] and'),
    ),
    in_bridge(
        "answers-to-others-taken",
        "The id of an answer is not looked at.",
        "AGT-24",
        Edit(f"{_RPC}:interpret", 'if answer.get("id") != task_id and', "if False and"),
    ),
    in_bridge(
        "correlation-header-missing",
        "The call has no X-Correlation-ID.",
        "AGT-03",
        Edit(f"{_CALLS}:_headers", '"X-Correlation-ID": _header_value(task.correlation_id),', ""),
    ),
    in_bridge(
        "correlation-id-lost",
        "A result does not repeat the correlation_id of its task.",
        "MSG-16",
        Edit("system.bridge.messages:encode_result", '"correlation_id": task.correlation_id,', '"correlation_id": "",'),
    ),
    in_bridge(
        "new-key-for-each-try",
        "Each try of a task has an Idempotency-Key of its own.",
        "AGT-04",
        Edit(
            f"{_CALLS}:_headers",
            '"Idempotency-Key": _header_value(task.task_id),',
            '"Idempotency-Key": __import__("uuid").uuid4().hex,',
        ),
    ),
    in_bridge(
        "authentication-missing",
        "The call carries nothing of the agent's auth_config.",
        "AGT-18",
        Edit(f"{_CALLS}:_headers", "headers.update(agent.headers)", "pass"),
    ),
    in_bridge(
        "secrets-told",
        "A secret that an agent's answer repeats is handed on.",
        "AGT-20",
        Edit(
            "system.bridge.agent:Agent.redacted_value",
            'json_values.replaced(value, self.secrets, "***") if self.secrets else value',
            "value",
        ),
        Edit("system.bridge.agent:Agent.redacted", 'text = text.replace(secret, "***")', "pass"),
    ),
    in_bridge(
        "unknown-agents-wait",
        "A task for an agent that is not registered is never answered.",
        "AGT-19",
        Edit(f"{_LANES}._try", "        self._on_ended(job, failure(agent))\n", "        job.busy = True\n"),
    ),
    in_bridge(
        "inactive-agents-called",
        "An agent whose record is inactive is called all the same.",
        "AGT-19",
        Edit("system.bridge.agent:agent_from", 'if record.get("status") not in (None, "active"):', "if False:"),
    ),
    in_bridge(
        "slow-agents-block",
        "One call is made at a time, so that a slow agent holds up all others.",
        "AGT-21",
        Wrap(f"{_CALLS}:Caller.call", bridging.one_call_at_a_time),
        also=("ISO-06",),
    ),
    in_bridge(
        "one-circuit-for-all",
        "Failures of one agent open the circuit of every other.",
        "AGT-17",
        Edit(
            "system.bridge.jobs:Lane.__init__",
            "self.breaker = Breaker(clock)",
            'self.breaker = _breakers.setdefault("all", Breaker(clock))',
        ),
        Name("system.bridge.jobs", "_breakers", dict),
    ),
    in_bridge(
        "no-circuit",
        "An agent that fails again and again is called for every task.",
        "AGT-16",
        Edit("system.bridge.breaker:Breaker.failed", "self.failures >= self._failures_to_open", "False"),
    ),
    in_bridge(
        "circuit-stays-open",
        "An agent that has failed again and again is never called again.",
        "AGT-16",
        Edit("system.bridge.breaker:Breaker.admit", "if self.probe_is_due:", "if False:"),
    ),
    in_bridge(
        "offset-committed-before-the-result",
        "A task counts as done when it is read, so that a bridge that dies loses it.",
        "AGT-22",
        Wrap("system.bridge.dispatch:Dispatcher.accept", bridging.done_when_read),
        also=("GRP-04", "GRP-08"),
    ),
    in_bridge(
        "unknown-fields-refused-by-the-bridge",
        "A task with a field beyond its schema is set aside.",
        "MSG-06",
        Wrap("system.bridge.messages:decode_task", bridging.refusing_unknown_fields),
    ),
    in_bridge(
        "invalid-tasks-kill",
        "A task that is not valid ends the bridge.",
        "DEL-10",
        Edit(
            "system.bridge.dispatch:Dispatcher._job_for",
            "        self._set_aside(received, str(error), positions)\n        return None",
            "        raise",
        ),
        also=("DEL-09", "DEL-15"),
    ),
    in_bridge(
        "delivered-without-an-offset",
        "Believes Kafka's client that a result is stored, although nobody knows where.",
        "AGT-22",
        Edit("system.adapters.kafka.publisher:_is_stored", "return told.offset() is not None", "return True"),
        also=("DEL-13", "CMP-01", "API-14"),
    ),
)
