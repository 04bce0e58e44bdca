"""Where scenarios are carried out: a stack of its own for each worker, or one that somebody else runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

from harness import settings
from harness.faults.ports import FaultPorts
from harness.runner.bench import Bench
from harness.stack import ContainerStack, EmbeddedStack, GuestStack, Stack
from harness.stack.cluster import ClusterStack
from harness.stack.engine import require_engine
from harness.stack.guest import new_prefix
from harness.subject import RoleName, Subject

StackKind = Literal["embedded", "cluster", "containers", "external"]
STACK_KINDS: Final[tuple[StackKind, ...]] = get_args(StackKind)
FAULT_POINT_STACKS: Final[tuple[StackKind, ...]] = ("embedded", "containers")
"""Those whose broker can have proxies before it."""


def require_stack(kind: StackKind) -> None:
    """Find out at once, before anything is started, whether there can be such a stack here.

    Raises:
        LookupError: what an external stack is known by is not told.
        NoEngine: there is nothing to run containers on.
    """
    if kind == "external":
        settings.external_stack()
    elif kind == "containers":
        require_engine()


def bench_maker(
    subject: Subject,
    kind: StackKind,
    *,
    counts: Mapping[RoleName, int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Callable[[contextlib.ExitStack], Bench]:
    """What brings up a stack and a bench on it, and pushes their endings.

    The maker raises StackError, SubjectError or KafkaError when that fails, and LookupError for an external stack whose
    addresses are not known.
    """

    def make(ending: contextlib.ExitStack) -> Bench:
        # A broker that was killed on purpose is nothing to warn of.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        with contextlib.ExitStack() as undo:
            stack: Stack
            ports: FaultPorts | None
            used = subject
            if kind == "embedded":
                ports = undo.enter_context(FaultPorts())
                stack = undo.enter_context(EmbeddedStack(extra_listeners=ports.advertised))
            elif kind == "containers":
                ports = undo.enter_context(FaultPorts())
                stack = undo.enter_context(ContainerStack(ports.advertised))
            elif kind == "cluster":
                ports = None
                stack = undo.enter_context(ClusterStack())
            else:
                ports = None
                prefix = new_prefix()
                used = subject.with_prefix(prefix)
                stack = undo.enter_context(_guest(used, prefix))
            bench = undo.enter_context(Bench(used, stack, counts=counts, environment=environment, fault_ports=ports))
            ending.push(undo.pop_all())
            return bench

    return make


def _guest(subject: Subject, prefix: str) -> GuestStack:
    description = subject.description
    return GuestStack(
        *settings.external_stack(),
        prefix=prefix,
        topics=description.binding.all_topics(),
        groups=frozenset(description.groups.values()),
    )
