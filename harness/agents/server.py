"""One HTTP server that plays any number of agents (contract, section 5), each at `/agents/<name>`, each by its script."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from aiohttp import web

from harness.agents.envelope import read_envelope
from harness.agents.ledger import Call, Ending, Ledger
from harness.agents.script import Action, Body, Hang, Held, HttpStatus, Reset, Script, Slow
from harness.agents.wire import JSON_HEADERS, breach_response, lacking_credentials, reset, rpc_response, unauthorized

log = logging.getLogger(__name__)

_PREFIX = "/agents/"
_START_SECONDS = 10.0


class CallListener(Protocol):
    """Hears of every call as it happens, in the server's own thread: it must be quick."""

    def begun(self, call: Call) -> None:
        """A call has arrived; nothing is answered before this returns."""

    def ends(self, call: Call, ending: Ending, status: int | None, body: bytes | None) -> None:
        """The call is about to be answered or reset, or its caller has left; `body` is what it is answered with."""


@dataclass(frozen=True, slots=True)
class Meddling:
    """What comes between a caller and an agent: `is_lost` resets the connection, `status` is answered in the agent's place;
    `token` is asked about again once the agent has answered, unless it is None."""

    is_lost: bool = False
    status: int | None = None
    token: object = None


class Meddler(Protocol):
    """Comes between callers and agents; awaited in the server's loop."""

    async def arrives(self, agent: str, peer_port: int) -> Meddling:
        """A call has arrived from a port of this machine; the agent has not heard of it."""

    async def is_answered(self, token: object) -> Meddling:
        """The agent has answered; the caller has not heard of it."""


class AgentServer:
    """Agents on one port, in a thread of their own. `with AgentServer({...}) as agents: agents.url("name")`.

    A call without the credentials that its agent demands is answered 401, and one whose envelope the contract does not
    allow with a JSON-RPC error (-32700, -32600, -32601 or -32602); both stand in the ledger, with what is wrong.
    After `stop` it can be started again, on the same port and with the same ledger: meanwhile calls are refused.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keep_ledger: bool = True,
    ) -> None:
        """
        Args:
            scripts: what each agent does, by its name; any other name is answered with 404.
            port: where to listen; 0 takes a free port.
            keep_ledger: note every call; without it, every call is the first of its agent and of its task.
        """
        self._scripts: dict[str, Script] = dict(scripts or {})
        self._demands: dict[str, Mapping[str, str]] = {}
        self._host = host
        self._port = port
        self._ledger = Ledger(keep=keep_ledger)
        self._gates: dict[str, asyncio.Event] = {}
        self._forgotten: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._listener: CallListener | None = None
        self._meddler: Meddler | None = None

    @property
    def port(self) -> int:
        """Where it listens; 0 before the first start of a server on a free port."""
        return self._port

    def url(self, agent: str) -> str:
        """Where an agent is called."""
        return f"http://{self._host}:{self._port}{_PREFIX}{agent}"

    def play(self, agent: str, script: Script, *, demands: Mapping[str, str] | None = None) -> None:
        """From the next call on, the agent follows this script, and takes calls with these headers only."""
        self._demands[agent] = dict(demands or {})
        self._scripts[agent] = script

    def forget(self, agent: str) -> None:
        """Let the agent be gone: the calls that are open now are reset, since nothing that its script does not say may be
        answered in its name, and those to come are answered 404."""
        self._scripts.pop(agent, None)
        self._demands.pop(agent, None)
        self._on_loop(lambda: self._forget(agent))

    def listen(self, listener: CallListener) -> None:
        """Tell this listener of every call from now on."""
        self._listener = listener

    def meddle(self, meddler: Meddler | None) -> None:
        """Have this one come between callers and agents from now on, or nobody."""
        self._meddler = meddler

    def ledger(self, agent: str | None = None) -> list[Call]:
        """The calls so far, in the order in which they began; of one agent or of all."""
        return self._ledger.calls(agent)

    def clear(self) -> None:
        """Forget the calls so far; scripts count from one again."""
        self._ledger.clear()

    def let_go(self, older_than_seconds: float) -> None:
        """Forget the oldest calls, which have ended; scripts go on counting. For long sessions that note calls elsewhere."""
        self._ledger.let_go(time.monotonic() - older_than_seconds)

    def wait_for(self, predicate: Callable[[Sequence[Call]], bool], deadline_seconds: float) -> list[Call]:
        """The calls, once the predicate holds of them; raises TimeoutError when it does not in time."""
        return self._ledger.wait_for(predicate, deadline_seconds)

    def release(self, agent: str) -> None:
        """Let the agent's held calls go on, and those to come as well, until `hold`."""
        self._on_loop(lambda: self._gate(agent).set())

    def hold(self, agent: str) -> None:
        """Hold the agent's coming `Held` calls again."""
        self._on_loop(lambda: self._gate(agent).clear())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; returns once connections are accepted.

        Raises:
            OSError: the port is taken.
            TimeoutError: the server's thread did not come up.
        """
        if self._thread is not None:
            raise RuntimeError("the agents are running already")
        started = threading.Event()
        problems: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(started))
            except BaseException as error:
                problems.append(error)
                started.set()

        self._thread = threading.Thread(target=run, name="agents", daemon=True)
        self._thread.start()
        in_time = started.wait(_START_SECONDS)
        if problems:
            self._thread = None
            raise problems[0]
        if not in_time:
            raise TimeoutError(f"the agents did not listen within {_START_SECONDS} s")

    def stop(self) -> None:
        """Close every connection and the port; calls in work are noted as left by their caller."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        stop = self._stop
        assert stop is not None
        self._on_loop(stop.set)
        thread.join(_START_SECONDS)
        if thread.is_alive():
            raise TimeoutError(f"the agents did not stop within {_START_SECONDS} s")

    def _on_loop(self, action: Callable[[], None]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            raise RuntimeError("the agents are not running; start them first")
        loop.call_soon_threadsafe(action)

    def _forget(self, agent: str) -> None:
        self._gates.pop(agent, None)
        if (forgotten := self._forgotten.pop(agent, None)) is not None:
            forgotten.set()

    def _gate(self, agent: str) -> asyncio.Event:
        return self._gates.setdefault(agent, asyncio.Event())

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop, self._gates = asyncio.get_running_loop(), asyncio.Event(), {}
        self._forgotten = {}
        # Handlers are cancelled when their caller goes away, so that the ledger shows when that was.
        server = web.Server(self._handle, access_log=None, handler_cancellation=True, keepalive_timeout=3600)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port, reuse_address=True, backlog=1024)
        try:
            await site.start()
            if self._port == 0:
                self._port = runner.addresses[0][1]
            started.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        agent = request.path.removeprefix(_PREFIX)
        script = self._scripts.get(agent) if request.path.startswith(_PREFIX) else None
        if script is None:
            return web.Response(status=404, text=f"no agent is at {request.path}")
        if request.method != "POST":
            return web.json_response({"name": agent, "status": "ok"})
        body = await request.content.read()
        envelope = read_envelope(body)
        task_id, input_data = envelope.task_id, envelope.input_data
        demanded = self._demands.get(agent, {})
        meddling = await self._meddling(agent, request)
        if meddling.is_lost:
            reset(request.transport)
            return web.Response(status=500)

        def make(number: int, nth_of_agent: int, nth_of_task: int) -> Call:
            return Call(
                number=number,
                agent=agent,
                nth_of_agent=nth_of_agent,
                nth_of_task=nth_of_task,
                task_id=task_id,
                idempotency_key=request.headers.get("Idempotency-Key"),
                correlation_id=request.headers.get("X-Correlation-ID"),
                headers=dict(request.headers),
                body=body,
                input_data=input_data,
                action=HttpStatus(meddling.status)
                if meddling.status is not None
                else script.action(nth_of_agent, nth_of_task, input_data),
                begun_monotonic=time.monotonic(),
                begun_wall=time.time(),
                breach=envelope.breach,
                lacking=lacking_credentials(demanded, request.headers),
            )

        call = self._ledger.begin(agent, task_id, make)
        if self._listener is not None:
            self._listener.begun(call)
        return await self._answer(request, call, meddling.token)

    async def _meddling(self, agent: str, request: web.BaseRequest) -> Meddling:
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        if self._meddler is None or peer is None:
            return Meddling()
        return await self._meddler.arrives(agent, peer[1])

    async def _answer(self, request: web.BaseRequest, call: Call, token: object) -> web.StreamResponse:
        ending: Ending = "caller left"
        status = None
        is_told = False

        def tell(ending: Ending, status: int | None, body: bytes | None) -> None:
            # Before the answer leaves: what the caller does with it must not be heard of first.
            nonlocal is_told
            if self._listener is not None and not is_told:
                is_told = True
                self._listener.ends(call, ending, status, body)

        try:
            response = self._refusal(call) or await self._act_while_known(call)
            if token is not None and self._meddler is not None and response is not None:
                meddling = await self._meddler.is_answered(token)
                if meddling.is_lost:
                    response = None
                elif meddling.status is not None:
                    response = web.Response(status=meddling.status)
            if response is None:
                ending = "reset"
                tell(ending, None, None)
                reset(request.transport)
                return web.Response(status=500)
            tell("answered", response.status, response.body if isinstance(response.body, bytes) else None)
            # A caller that leaves in this very moment has not got it.
            with contextlib.suppress(ConnectionResetError):
                await response.prepare(request)
                await response.write_eof()
                ending, status = "answered", response.status
            return response
        finally:
            self._ledger.end(call, ending, status)
            tell(ending, status, None)

    def _refusal(self, call: Call) -> web.Response | None:
        """The response to a call that the agent does not take; None for one that it does."""
        if call.lacking is not None:
            return unauthorized(self._demands.get(call.agent, {}), call.lacking)
        return None if call.breach is None else breach_response(call, call.breach)

    async def _act_while_known(self, call: Call) -> web.Response | None:
        """The response of the call's action, or None when the agent is forgotten before."""
        if not isinstance(call.action, Slow | Held | Hang):
            return await self._act(call, call.action)
        forgotten = self._forgotten.setdefault(call.agent, asyncio.Event())
        acting = asyncio.create_task(self._act(call, call.action))
        waiting = asyncio.create_task(forgotten.wait())
        try:
            await asyncio.wait((acting, waiting), return_when=asyncio.FIRST_COMPLETED)
            return acting.result() if acting.done() else None
        finally:
            acting.cancel()
            waiting.cancel()

    async def _act(self, call: Call, action: Action) -> web.Response | None:
        """The response that an action leads to; None resets the connection."""
        match action:
            case Slow(seconds=seconds, then=then):
                await asyncio.sleep(seconds)
                return await self._act(call, then)
            case Held(then=then):
                await self._gate(call.agent).wait()
                return await self._act(call, then)
            case Hang():
                await asyncio.Event().wait()
                raise AssertionError("nobody sets this event")
            case Reset():
                return None
            case HttpStatus(status=status, retry_after=retry_after, headers=headers, body=body):
                more = {} if retry_after is None else {"Retry-After": retry_after}
                return web.Response(status=status, body=body, headers={**headers, **more})
            case Body(body=body, headers=headers):
                return web.Response(body=body, headers={**JSON_HEADERS, **headers})
            case _:
                return rpc_response(call, action)
