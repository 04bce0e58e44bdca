"""A stack that somebody else runs, as its guest: what a session makes there bears names of its own, and goes with it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Iterator
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from kafka import KafkaAdminClient
from kafka.errors import KafkaError, NoError
from psycopg2 import sql
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from harness.stack.errors import NamesInUse, StackError
from harness.stack.external import ExternalStack

_CONNECT_SECONDS: Final = 10
_REQUEST_MS: Final = 15_000
_GROUPS_EMPTY_SECONDS: Final = 40.0


def new_prefix() -> str:
    """What the names of one session begin with, fit for topics and groups."""
    return f"plumbline-{uuid.uuid4().hex[:8]}-"


class GuestStack(ExternalStack):
    """A context manager. The database is one of the session's own, beside the one that `DATABASE_URL` names.

    Topics and groups are those that the subject uses. What of them was there before stays, and so does whatever is not the
    subject's; what came to be meanwhile is removed at the end.
    """

    def __init__(
        self, database_url: str, kafka_brokers: str, *, prefix: str, topics: Collection[str], groups: Collection[str]
    ) -> None:
        """`topics` and `groups` are the subject's, under the names that it has here; whatever begins with `prefix` is the
        session's as well, and so are the dead letters of those topics."""
        super().__init__(database_url, kafka_brokers)
        self._given_url = database_url
        self._prefix = prefix
        self._topics = tuple(topics)
        self._groups = frozenset(groups)
        self._database = prefix.rstrip("-").replace("-", "_")
        self._ending = contextlib.ExitStack()

    def start(self) -> None:
        """Look whether the subject's names are free, and make a database.

        Raises:
            NamesInUse: somebody reads the subject's topics, or is in a group of its.
            StackError: Kafka or PostgreSQL is not there, or refuses; says which, and what to do.
        """
        with contextlib.ExitStack() as undo:
            with self._kafka() as admin:
                self._refuse_if_in_use(admin)
                topics, groups = set(admin.list_topics()), _group_names(admin)
            self._make_database()
            # Pushed before what may fail later; run in turn, so that one failure does not keep the other from its end.
            undo.callback(self._drop_database)
            undo.callback(self._remove_from_kafka, topics, groups)
            url = urlsplit(self._given_url)
            self.database_url = urlunsplit(url._replace(path=f"/{self._database}"))
            self._ending = undo.pop_all()

    def stop(self) -> None:
        """Remove what the session has made; harmless the second time. Raises :class:`StackError`, with what is left."""
        self._ending.close()

    def _make_database(self) -> None:
        try:
            self._on_server(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))
        except psycopg2.errors.InsufficientPrivilege as error:
            user = urlsplit(self._given_url).username
            raise StackError(
                f"The user {user} of DATABASE_URL may not create a database, and the session needs one of its own. "
                f"Let it: `ALTER ROLE {user} CREATEDB`, or name another user."
            ) from error
        except psycopg2.Error as error:
            raise StackError(
                f"The PostgreSQL of DATABASE_URL cannot be used: {str(error).strip()}. Correct DATABASE_URL, or start it."
            ) from error

    def _drop_database(self) -> None:
        name = sql.Identifier(self._database)
        try:
            # Sessions that were cut off while they waited may linger in it.
            self._on_server(
                sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                    sql.Literal(self._database)
                )
            )
            self._on_server(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
        except psycopg2.Error as error:
            raise StackError(
                f"The session's database could not be removed: {str(error).strip()}. "
                f"Remove it by `DROP DATABASE {self._database}`."
            ) from error

    def _on_server(self, statement: sql.Composable) -> None:
        connection = psycopg2.connect(self._given_url, connect_timeout=_CONNECT_SECONDS)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def _refuse_if_in_use(self, admin: Any) -> None:
        for name, group in admin.describe_groups(sorted(_group_names(admin))).items():
            members = group["members"]
            read = {topic for member in members for topic in _topics_of(member)}
            if members and (name in self._groups or read & set(self._topics)):
                about = (
                    f"reads {', '.join(sorted(read & set(self._topics)))}" if read & set(self._topics) else "is there"
                )
                raise NamesInUse(
                    f"The consumer group {name}, with {len(members)} members, {about} on the broker of KAFKA_BROKERS: the "
                    "subject would take its messages, and it the subject's. Let the subject file name topics and groups "
                    "with {prefix} before them, which are then the session's own, or take a broker that nobody uses."
                )

    def _remove_from_kafka(self, topics_before: set[str], groups_before: set[str]) -> None:
        with self._kafka() as admin:
            topics = sorted(name for name in set(admin.list_topics()) - topics_before if self._is_ours(name))
            groups = sorted(
                name
                for name in _group_names(admin) - groups_before
                if name in self._groups or name.startswith(self._prefix)
            )
            if topics:
                admin.delete_topics(topics)
            left = list(groups)

            def remove() -> bool:
                """Members that did not say goodbye stay in a group until its session runs out."""
                told = admin.delete_groups(left) if left else {}
                gone = {name for name, state in told.items() if _is_gone(state)}
                left[:] = [name for name in left if name not in gone]
                return not left

            try:
                Retrying(
                    retry=retry_if_result(lambda done: not done),
                    stop=stop_after_delay(_GROUPS_EMPTY_SECONDS),
                    wait=wait_fixed(0.5),
                )(remove)
            except RetryError as error:
                raise StackError(
                    f"The consumer groups {', '.join(left)} could not be removed: they have members still, after "
                    f"{_GROUPS_EMPTY_SECONDS:.0f} s. Remove them with Kafka's tools."
                ) from error

    def _is_ours(self, topic: str) -> bool:
        # A dead-letter topic is named after the one whose messages it keeps.
        return topic.startswith(self._prefix) or any(
            topic == one or topic.startswith(f"{one}.") for one in self._topics
        )

    @contextlib.contextmanager
    def _kafka(self) -> Iterator[Any]:
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=self.kafka_brokers.split(","),
                request_timeout_ms=_REQUEST_MS,
                bootstrap_timeout_ms=_REQUEST_MS,
            )
            try:
                yield admin
            finally:
                admin.close()
        except KafkaError as error:
            raise StackError(
                f"The Kafka of KAFKA_BROKERS ({self.kafka_brokers}) cannot be used: {error!r}. Correct KAFKA_BROKERS, start "
                "it, or allow what was refused."
            ) from error


def _group_names(admin: Any) -> set[str]:
    return {str(group["group_id"]) for group in admin.list_groups()}


def _topics_of(member: dict[str, Any]) -> set[str]:
    assignment = member.get("member_assignment") or {}
    return {part["topic"] for part in assignment.get("assigned_partitions", ())}


def _is_gone(state: Any) -> bool:
    return state is NoError or "NotFound" in str(state)
