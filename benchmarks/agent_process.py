"""The echo agent as a process, and what it can do when nobody else wants anything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.agent_requests import request_body
from benchmarks.child import child
from harness.stack import Warden

_CONNECTIONS = 16


@dataclass(frozen=True)
class AgentProcess:
    """Where the agent is."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """Where it is called."""
        return f"http://127.0.0.1:{self.port}/agents/echo"


@contextlib.contextmanager
def echo_agent(warden: Warden, delay_seconds: float = 0.0) -> Iterator[AgentProcess]:
    """The running agent, which takes so long for each answer. Raises RuntimeError when it does not come up."""
    with child(warden, "benchmarks.echo_agent", f"{delay_seconds:g}") as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line.isdecimal():
            raise RuntimeError(f"the echo agent wrote {line!r}; expected its port. Its messages stand above.")
        yield AgentProcess(process.pid, int(line))


def calls_per_second(agent: AgentProcess, seconds: float) -> float:
    """What it answers on a few kept-alive connections, each asking again at once."""
    return asyncio.run(_load(agent.port, seconds))


async def _load(port: int, seconds: float) -> float:
    body = request_body("0", {"message": "x" * 32})
    request = b"POST /agents/echo HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    begun = time.perf_counter()

    async def ask() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        calls = 0
        while time.perf_counter() - begun < seconds:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().rpartition(b"content-length:")[2]))
            calls += 1
        writer.close()
        await writer.wait_closed()
        return calls

    calls = sum(await asyncio.gather(*(ask() for _ in range(_CONNECTIONS))))
    return calls / (time.perf_counter() - begun)
