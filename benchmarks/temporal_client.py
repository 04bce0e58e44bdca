"""Temporal's client as the benchmark uses it: from one thread, one call after the other. Imported where the SDK is."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from benchmarks.temporal_server import TemporalServer

NAMESPACE: Final = "bench"
TASK_QUEUE: Final = "bench"
WORKFLOW: Final = "bench"
_READY_SECONDS = 120.0
_RETRY_SECONDS = 0.1
_RPC_TIMEOUT = timedelta(seconds=10)
_RETENTION_SECONDS = 24 * 3600


async def connect(address: str) -> Client:
    """A connection of its own. Nothing is compressed: it is all on one machine."""
    return await Client.connect(address, namespace=NAMESPACE, grpc_compression=GrpcCompression.NONE)


class TemporalClient:
    """A client with its own event loop and connection. `plan` is what the workflow is told of the workload."""

    def __init__(self, address: str, plan: Mapping[str, Any]) -> None:
        """Raises RuntimeError when nobody answers there."""
        self._plan = plan
        self._runner = asyncio.Runner()
        try:
            self._client = self._runner.run(connect(address))
        except BaseException:
            self._runner.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    def start(self, run_id: str, given: Mapping[str, Any]) -> None:
        """Returns once the server has the run. Raises RPCError when it refuses."""
        self._runner.run(self._start(run_id, given))

    def start_many(self, runs: Mapping[str, Mapping[str, Any]], at_once: int) -> None:
        """Start runs, some at the same time. Raises RPCError for the first that is refused."""

        async def all_of_them() -> None:
            waiting = iter(runs.items())

            async def some() -> None:
                for run_id, given in waiting:
                    await self._start(run_id, given)

            await asyncio.gather(*(some() for _ in range(at_once)))

        self._runner.run(all_of_them())

    def results(self, run_ids: Sequence[str]) -> list[Any]:
        """What runs gave back, in that order; waits for their end. Raises WorkflowFailureError for one that failed."""

        async def all_of_them() -> list[Any]:
            return list(
                await asyncio.gather(*(self._client.get_workflow_handle(run_id).result() for run_id in run_ids))
            )

        return self._runner.run(all_of_them())

    def try_out(self, given: Mapping[str, Any]) -> Any:
        """What one run gives back, asked for until every part of a young server knows the namespace.

        Raises TimeoutError when that does not happen.
        """

        async def one() -> Any:
            run_id = f"trial-{uuid.uuid4()}"
            async with asyncio.timeout(_READY_SECONDS):
                while True:
                    try:
                        await self._start(run_id, given)
                    except RPCError as error:
                        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.UNAVAILABLE):
                            raise
                        await asyncio.sleep(_RETRY_SECONDS)
                    else:
                        return await self._client.get_workflow_handle(run_id).result()

        return self._runner.run(one())

    async def _start(self, run_id: str, given: Mapping[str, Any]) -> None:
        await self._client.start_workflow(WORKFLOW, args=[self._plan, given], id=run_id, task_queue=TASK_QUEUE)


def make_namespace(server: TemporalServer) -> uuid.UUID:
    """Wait for a young server's frontend, and make the namespace; gives its id.

    Raises StackError, with the end of the server's log, when it dies or does not do it in time.
    """

    async def once() -> uuid.UUID:
        service = (await connect(server.address)).workflow_service
        try:
            await service.register_namespace(
                RegisterNamespaceRequest(
                    namespace=NAMESPACE,
                    workflow_execution_retention_period=Duration(seconds=_RETENTION_SECONDS),
                ),
                timeout=_RPC_TIMEOUT,
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise
        described = await service.describe_namespace(
            DescribeNamespaceRequest(namespace=NAMESPACE), timeout=_RPC_TIMEOUT
        )
        return uuid.UUID(described.namespace_info.id)

    made: list[uuid.UUID] = []
    with asyncio.Runner() as runner:

        def is_made() -> bool:
            # RuntimeError is the SDK's for a connection that is refused.
            with contextlib.suppress(RuntimeError, RPCError):
                made.append(runner.run(once()))
            return bool(made)

        server.process.wait_until(is_made, "make a namespace", _READY_SECONDS)
    return made[0]
