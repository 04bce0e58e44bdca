"""Requests to the subject's API, each written into the history of its scenario with its answer."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from harness.observer.parsing import loads
from harness.observer.scopes import Scope
from harness.subject import Binding

_TIMEOUT_SECONDS = 30.0
_MOST_NOTED = 2000
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What came back: `status` None when no answer came, and then `body` says why. `body` is JSON, or text."""

    status: int | None
    body: Any


class RestRecorder:
    """Speaks to the API in the contract's paths. May be used from several threads."""

    def __init__(self, url: str, binding: Binding, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._url = url.rstrip("/")
        self._binding = binding
        self._timeout_seconds = timeout_seconds
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def ask(
        self,
        scope: Scope | None,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: str | None = None,
        headers: Mapping[str, str] | None = None,
        run: str | None = None,
    ) -> Answer:
        """Send a request and note it with its answer. `path` is below ``/api/v1``, as ``/runs/run-1``; one that begins
        with ``//`` is taken as it is, from the second slash. In its query a plus sign is a plus sign, as in the offset of a
        time; a space is ``%20``. `raw` is sent in place of a JSON body, under the content type of JSON unless the headers
        name another; of one that is long, the history has the beginning."""
        number = next(_numbers)
        if scope is not None:
            told = body if raw is None else _beginning(raw)
            scope.writer.add("rest", "request", run, request=number, method=method, path=path, body=told)
        url = self._url + _with_quoted_query(path[1:] if path.startswith("//") else self._binding.path(path))
        try:
            response = self._session().request(
                method,
                url,
                json=body if raw is None else None,
                data=raw.encode("utf-8", "surrogatepass") if raw is not None else None,
                headers={**({"Content-Type": "application/json"} if raw is not None else {}), **(headers or {})},
                timeout=self._timeout_seconds,
                allow_redirects=False,
            )
            answer = Answer(response.status_code, _body(response))
        except requests.RequestException as error:
            answer = Answer(None, f"{type(error).__name__}: {error}")
        if scope is not None:
            scope.writer.add("rest", "answer", run, request=number, status=answer.status, body=answer.body)
        return answer

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            session = requests.Session()
            # A proxy of the environment cannot see this machine's loopback.
            session.trust_env = False
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        found: requests.Session = self._local.session
        return found


def _with_quoted_query(path: str) -> str:
    """The path, with what servers take for something else in its query (a space, a fragment) in percent-encoding. What is
    encoded already, and the signs that part the query, stay."""
    before, mark, query = path.partition("?")
    return before + mark + query.replace("+", "%2B").replace("#", "%23")


def _beginning(raw: str) -> str:
    if len(raw) <= _MOST_NOTED:
        return raw
    return f"{raw[:_MOST_NOTED]}… ({len(raw)} characters)"


def _body(response: requests.Response) -> Any:
    if not response.content:
        return None
    try:
        return loads(response.content)
    except (ValueError, RecursionError):
        return response.text
