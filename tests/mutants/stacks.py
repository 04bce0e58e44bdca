"""One stack for many trials of a process: emptied between them, and made anew when that does not succeed."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import psycopg2
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import GroupIdNotFoundError, KafkaError, NoError
from psycopg2 import sql
from tenacity import Retrying, stop_after_delay, wait_fixed

from harness.faults.ports import FaultPorts
from harness.stack import EmbeddedStack, StackError

log = logging.getLogger(__name__)

_EMPTY_SECONDS = 20.0
_REQUEST_MS = 5000


class StackKeeper:
    """Gives a stack without topics, groups and rows, as often as it is asked."""

    def __init__(self) -> None:
        self._stack: EmbeddedStack | None = None
        self._ending = contextlib.ExitStack()
        self.fault_ports: FaultPorts | None = None
        """Those that the stack's broker advertises."""

    def fresh(self) -> EmbeddedStack:
        """A stack as if it were new. What ran on the last one must have ended.

        Raises:
            StackError: none can be started.
        """
        if self._stack is not None:
            try:
                _empty(self._stack)
                return self._stack
            except Exception:
                log.warning("a stack could not be emptied, and another is started", exc_info=True)
                self.drop()
        with contextlib.ExitStack() as undo:
            self.fault_ports = undo.enter_context(FaultPorts())
            self._stack = undo.enter_context(EmbeddedStack(extra_listeners=self.fault_ports.advertised))
            self._ending = undo.pop_all()
        return self._stack

    def drop(self) -> None:
        """End the stack; the next one is new."""
        self._stack = self.fault_ports = None
        with contextlib.suppress(StackError):
            self._ending.close()


def _empty(stack: EmbeddedStack) -> None:
    admin = KafkaAdminClient(
        bootstrap_servers=stack.kafka_brokers.split(","),
        request_timeout_ms=_REQUEST_MS,
        bootstrap_timeout_ms=_REQUEST_MS,
    )
    try:
        for attempt in Retrying(stop=stop_after_delay(_EMPTY_SECONDS), wait=wait_fixed(0.1), reraise=True):
            with attempt:
                _empty_broker(admin)
    finally:
        admin.close()
    _empty_database(stack)


def _empty_broker(admin: Any) -> None:
    """Delete groups and topics. Raises KafkaError or RuntimeError while some are left."""
    for group in [one["group_id"] for one in admin.list_groups()]:
        members = admin.describe_groups([group])[group]["members"]
        if members:
            # A static member that did not say goodbye is in the group until its session times out.
            admin.remove_group_members(
                group,
                [
                    MemberToRemove(member_id=one["member_id"], group_instance_id=one.get("group_instance_id"))
                    for one in members
                ],
            )
        for told in dict(admin.delete_groups([group])).values():
            if told not in (NoError, "OK", None) and told is not GroupIdNotFoundError:
                raise KafkaError(f"the group {group} is still there: {told}")
    topics = _topics(admin)
    if topics:
        admin.delete_topics(topics)
    if left := _topics(admin):
        raise RuntimeError(f"topics are still there: {', '.join(left)}")


def _topics(admin: Any) -> list[str]:
    return [name for name in admin.list_topics() if not name.startswith("__")]


def _empty_database(stack: EmbeddedStack) -> None:
    with contextlib.closing(psycopg2.connect(stack.database.superuser_url)) as connection:
        connection.autocommit = True
        owner = psycopg2.extensions.parse_dsn(stack.database_url)
        name, user = sql.Identifier(owner["dbname"]), sql.Identifier(owner["user"])
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, user))
