"""One HTTP call to an agent: what is sent, and what each way in which it can end means (contract, section 5)."""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp

from system.bridge import rpc
from system.bridge.agent import Agent
from system.bridge.messages import Outcome, Task, failure
from system.bridge.retry import retry_after_seconds

log = logging.getLogger(__name__)

# Servers close idle connections (two seconds is the shortest default in use). A request that is sent at that very
# moment is lost and costs a try, so the bridge closes first.
_KEEP_ALIVE_SECONDS = 1.8
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(slots=True)
class Trouble:
    """A call that may be tried again. `broken`: the agent could not be reached, or not work (transport, timeout, 5xx),
    as opposed to asking for patience (429)."""

    message: str
    broken: bool
    retry_after_seconds: float | None = None


class Caller:
    """Calls agents over keep-alive connections, as many as there are calls; how many is the dispatcher's to bound.

    Used as an asynchronous context manager. Redirects are not followed, TLS certificates are verified, proxies and
    cookies are not used.
    """

    def __init__(self, *, max_answer_bytes: int) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(self, agent: Agent, task: Task) -> Outcome | Trouble:
        """Make one try. An Outcome is final; the agent's secrets are in neither."""
        try:
            ended = await self._call(agent, task)
        except Exception as error:
            # A task that the bridge itself cannot cope with must not take the others' calls down with it.
            # Not log.exception: the traceback goes through the redaction first.
            log.error(  # noqa: TRY400
                "a call could not be made: %s",
                agent.redacted(traceback.format_exc()),
                extra={"task_id": task.task_id, "agent_name": agent.name},
            )
            ended = failure(f"the bridge could not call agent {agent.name!r}: {type(error).__name__}: {error}")
        if isinstance(ended, Trouble):
            ended.message = agent.redacted(ended.message)
        elif ended.error_message is not None:
            ended.error_message = agent.redacted(ended.error_message)
        else:
            ended.output_data = agent.redacted_value(ended.output_data)
        return ended

    async def _call(self, agent: Agent, task: Task) -> Outcome | Trouble:
        name = f"agent {agent.name!r}"
        try:
            body = rpc.request_body(task)
        except ValueError as error:
            return failure(f"input_data cannot be sent to {name}: {error}")
        try:
            async with (
                asyncio.timeout(agent.timeout_seconds),
                self._session.post(
                    agent.url, data=body, headers=_headers(agent, task), allow_redirects=False
                ) as response,
            ):
                return await self._ended(name, task, response)
        except TimeoutError:
            return Trouble(f"{name} did not answer within {agent.timeout_seconds * 1000:.0f} ms", broken=True)
        except (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch) as error:
            return failure(f"{name} cannot be trusted over TLS: {error}")
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError) as error:
            return Trouble(f"{name} could not be reached, or broke off: {_reason(error)}", broken=True)
        except (aiohttp.ClientError, ValueError) as error:
            return failure(f"{name} did not answer with HTTP that can be understood: {_reason(error)}")

    async def _ended(self, name: str, task: Task, response: aiohttp.ClientResponse) -> Outcome | Trouble:
        status = response.status
        if 300 <= status < 400:
            return failure(f"{name} answered HTTP {status}: redirects are not followed; correct the agent's url")
        body = await self._body(response)
        if status == 429 or status >= 500:
            retry_after = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
            return Trouble(f"{name} answered HTTP {status}{_said(body)}", status != 429, retry_after)
        if status >= 400:
            return failure(f"{name} answered HTTP {status}{_said(body)}")
        if body is None:
            return failure(f"{name} answered with more than the {self._max_answer_bytes} bytes that are allowed")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            return failure(f"{name} did not answer with JSON-RPC: it is encoded although the call asked for none")
        return rpc.interpret(task.agent_name, task.task_id, body)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The body, or None when it is larger than allowed; the connection is then closed, unread."""
        length = response.content_length
        if length is not None and length <= self._max_answer_bytes:
            return await response.read()
        pieces = bytearray()
        while len(pieces) <= self._max_answer_bytes and (length is None or length <= self._max_answer_bytes):
            piece = await response.content.readany()
            if not piece:
                return bytes(pieces)
            pieces += piece
        response.close()
        return None


def _headers(agent: Agent, task: Task) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "workflow-http-bridge",
        "X-Correlation-ID": _header_value(task.correlation_id),
        "Idempotency-Key": _header_value(task.task_id),
    }
    headers.update(agent.headers)
    return headers


def _header_value(text: str) -> str:
    """The text as it is, or percent-encoded where a header could not carry it."""
    if text.isascii() and text.isprintable():
        return text
    return quote(text, safe=_PRINTABLE)


def _said(body: bytes | None) -> str:
    error = rpc.error_in(body) if body else None
    return f": {error}" if error else ""


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
