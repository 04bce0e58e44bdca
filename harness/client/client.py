"""The client. One object may be used by one thread at a time, as the session below it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote, urlsplit

import requests

from harness.client.errors import ApiRefused, ApiUnreachable, refusal
from harness.client.shapes import Accepted, Agent, AgentHealth, LogEntry, Page, Run, Step, Workflow

_PREFIX = "/api/v1"
_PAGE_SIZE = 100
_MOST_PAGES = 10_000


class ApiClient:
    """Speaks to an API at a base URL, without ``/api/v1``. A context manager that closes its connections.

    Every method raises :class:`ApiUnreachable` when no answer comes and :class:`ApiRefused` for an answer of 4xx or 5xx.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 30.0, user: str | None = None) -> None:
        """``user`` is sent as X-User (an extension): who asks."""
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()
        # A proxy of the environment is for the world outside, and cannot see this machine's loopback.
        self._session.trust_env = not _is_loopback(self.url)
        if user is not None:
            self._session.headers["X-User"] = user

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def is_healthy(self) -> bool:
        """Whether ``GET /health`` answers 200."""
        try:
            self._ask("GET", "/health", prefix="")
        except (ApiUnreachable, ApiRefused):
            return False
        return True

    def create_workflow(self, definition: Mapping[str, Any]) -> Workflow:
        """Create a definition."""
        return cast(Workflow, self._ask("POST", "/workflows", body=definition))

    def replace_workflow(self, workflow_id: str, definition: Mapping[str, Any]) -> Workflow:
        """Make the next version of a definition."""
        return cast(Workflow, self._ask("PUT", f"/workflows/{_part(workflow_id)}", body=definition))

    def workflow(self, workflow_id: str) -> Workflow:
        """A definition in its newest version."""
        return cast(Workflow, self._ask("GET", f"/workflows/{_part(workflow_id)}"))

    def workflow_named(self, name: str) -> Workflow | None:
        """The active definition of a name."""
        for workflow in self._all("/workflows", name):
            if workflow["name"] == name and workflow.get("status", "active") == "active":
                return cast(Workflow, workflow)
        return None

    def delete_workflow(self, workflow_id: str) -> None:
        """Delete a definition."""
        self._ask("DELETE", f"/workflows/{_part(workflow_id)}")

    def execute(
        self, workflow_id: str, input_data: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Accepted:
        """Start a run."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
        path = f"/workflows/{_part(workflow_id)}/execute"
        return cast(Accepted, self._ask("POST", path, body={"input_data": dict(input_data)}, headers=headers))

    def runs(self, *, page: int = 1, page_size: int = 20, status: str | None = None, **filters: str) -> Page[Run]:
        """A page of runs, the newest first unless ``filters`` (section 3's parameters) say otherwise."""
        query = {"page": page, "page_size": page_size, **({"status": status} if status else {}), **filters}
        return cast(Page[Run], self._ask("GET", "/runs", query=query))

    def run(self, run_id: str) -> Run:
        """A run."""
        return cast(Run, self._ask("GET", f"/runs/{_part(run_id)}"))

    def steps(self, run_id: str) -> list[Step]:
        """The executions of a run's steps."""
        return cast(list[Step], self._ask("GET", f"/runs/{_part(run_id)}/steps")["items"])

    def logs(self, run_id: str) -> list[LogEntry]:
        """The events of a run, in order."""
        return cast(list[LogEntry], self._ask("GET", f"/runs/{_part(run_id)}/logs")["items"])

    def cancel(self, run_id: str, reason: str | None = None) -> Run:
        """Cancel a run."""
        return cast(Run, self._ask("POST", f"/runs/{_part(run_id)}/cancel", body={"reason": reason}))

    def retry(self, run_id: str, resume_from_step: str | None = None) -> Accepted:
        """Retry a run, from its last completed step or from a given one."""
        body = {} if resume_from_step is None else {"resume_from_step": resume_from_step}
        return cast(Accepted, self._ask("POST", f"/runs/{_part(run_id)}/retry", body=body))

    def create_agent(self, record: Mapping[str, Any]) -> Agent:
        """Register an agent."""
        return cast(Agent, self._ask("POST", "/agents", body=record))

    def replace_agent(self, agent_id: str, record: Mapping[str, Any]) -> Agent:
        """Replace an agent's record."""
        return cast(Agent, self._ask("PUT", f"/agents/{_part(agent_id)}", body=record))

    def agent_named(self, name: str) -> Agent | None:
        """The agent of a name."""
        return next((cast(Agent, agent) for agent in self._all("/agents", name) if agent["name"] == name), None)

    def delete_agent(self, agent_id: str) -> None:
        """Remove an agent."""
        self._ask("DELETE", f"/agents/{_part(agent_id)}")

    def agent_health(self, agent_id: str) -> AgentHealth:
        """Whether an agent can be reached now."""
        return cast(AgentHealth, self._ask("GET", f"/agents/{_part(agent_id)}/health"))

    def register_agent(self, record: Mapping[str, Any]) -> Agent:
        """Register an agent, or replace the record of that name."""
        known = self.agent_named(record["name"])
        return self.create_agent(record) if known is None else self.replace_agent(known["id"], record)

    def _all(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        """The items of all pages. The filter by name is an extension: an API without it sends everything."""
        for page in range(1, _MOST_PAGES + 1):
            answer = self._ask("GET", path, query={"name": name, "page": page, "page_size": _PAGE_SIZE})
            yield from answer["items"]
            if page >= answer["total_pages"]:
                return

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        prefix: str = _PREFIX,
    ) -> Any:
        request = f"{method} {prefix}{path}"
        try:
            response = self._session.request(
                method,
                f"{self.url}{prefix}{path}",
                params=query,
                json=body,
                headers=headers,
                timeout=self._timeout_seconds,
                allow_redirects=False,
            )
        except requests.ConnectionError as error:
            raise ApiUnreachable(self.url, _cause(error)) from error
        except requests.Timeout as error:
            raise ApiUnreachable(self.url, f"nothing within {self._timeout_seconds:.0f} s") from error
        except requests.RequestException as error:
            raise ApiUnreachable(self.url, str(error)) from error
        if response.status_code == 204:
            return None
        try:
            answer = response.json()
        except requests.JSONDecodeError as error:
            raise refusal(request, response.status_code, response.text) from error
        if not 200 <= response.status_code < 300:
            raise refusal(request, response.status_code, answer)
        return answer


def _part(text: str) -> str:
    return quote(text, safe="")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _cause(error: BaseException) -> str:
    """The innermost reason, which is the one that says something."""
    seen: BaseException = error
    for _ in range(10):
        reason = getattr(seen, "reason", None) or next((a for a in seen.args if isinstance(a, BaseException)), None)
        inner = seen.__cause__ or seen.__context__ or reason
        if not isinstance(inner, BaseException):
            break
        seen = inner
    return getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
