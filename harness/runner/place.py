"""Where scenarios are carried out: a stack of its own for each worker, or one that somebody else runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

from harness import settings
from harness.faults.ports import FaultPorts
from harness.runner.bench import Bench
from harness.stack import EmbeddedStack, ExternalStack, Stack
from harness.subject import RoleName, Subject

StackKind = Literal["embedded", "external"]
STACK_KINDS: Final[tuple[StackKind, ...]] = get_args(StackKind)


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
            if kind == "embedded":
                ports = undo.enter_context(FaultPorts())
                stack = undo.enter_context(EmbeddedStack(extra_listeners=ports.advertised))
            else:
                ports = None
                stack = undo.enter_context(ExternalStack(*settings.external_stack()))
            bench = undo.enter_context(Bench(subject, stack, counts=counts, environment=environment, fault_ports=ports))
            ending.push(undo.pop_all())
            return bench

    return make
