"""The envelope of a call (contract, section 5; AGT-01): what must be so for an agent to take it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
METHOD: Final = "message/send"

_MOST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Breach:
    """What a call breaks: a code of JSON-RPC 2.0, and a sentence that says what was expected and what was found."""

    code: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """A call as it was read. `task_id` and `input_data` are None for what cannot be read; `breach` is None for a call that
    the contract allows."""

    task_id: Any
    input_data: Any
    breach: Breach | None


def read_envelope(body: bytes) -> Envelope:
    """Read the body of a call. Members beyond the contract's are let be, as a reader does with what it does not know."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Envelope(None, None, Breach(PARSE_ERROR, f"expected JSON in UTF-8, found {_shown(body)}: {error}"))
    return Envelope(_task_id(request), _input_of(request), _breach(request))


def _breach(request: Any) -> Breach | None:
    if not isinstance(request, dict):
        return Breach(INVALID_REQUEST, f"expected a JSON-RPC request, which is an object, found {_shown(request)}")
    if request.get("jsonrpc") != "2.0":
        return Breach(INVALID_REQUEST, f'expected "jsonrpc": "2.0", found {_member(request, "jsonrpc")}')
    if _task_id(request) is None:
        return Breach(INVALID_REQUEST, f"expected the task_id, a text, as id, found {_member(request, 'id')}")
    if request.get("method") != METHOD:
        return Breach(METHOD_NOT_FOUND, f"expected the method {METHOD}, found {_member(request, 'method')}")
    wrong = _wrong_in_params(request.get("params"))
    return None if wrong is None else Breach(INVALID_PARAMS, wrong)


def _wrong_in_params(params: Any) -> str | None:
    message = params.get("message") if isinstance(params, dict) else None
    if not isinstance(message, dict):
        return f"expected an object as params.message, found {_shown(params)} as params"
    if message.get("role") != "user":
        return f"expected a message of the role user, found {_member(message, 'role')}"
    if not isinstance(message.get("messageId"), str) or not message["messageId"]:
        return f"expected a messageId, a text, found {_member(message, 'messageId')}"
    parts = message.get("parts")
    if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], dict):
        return f"expected one part, found {_member(message, 'parts')}"
    if parts[0].get("kind") != "text":
        return f"expected a part of the kind text, found {_member(parts[0], 'kind')}"
    try:
        json.loads(parts[0]["text"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return f"expected the input as JSON in the part's text, found {_member(parts[0], 'text')}"
    return None


def _task_id(request: Any) -> str | None:
    """The id, when it can be a task's."""
    found = request.get("id") if isinstance(request, dict) else None
    return found if isinstance(found, str) and found else None


def _input_of(request: Any) -> Any:
    """The input that the text part holds, as far as it can be found."""
    try:
        return json.loads(request["params"]["message"]["parts"][0]["text"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _member(of: dict[str, Any], name: str) -> str:
    return _shown(of[name]) if name in of else "none"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
