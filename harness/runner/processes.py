"""The subject's processes and the stack's servers under a scenario's acts, and their way back to how they were."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError, NoError
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from harness.history import HistoryWriter
from harness.runner.errors import NotSupported, SetUpBroke
from harness.stack import NotInOurHands, NotRunning, Part, Stack, StackError
from harness.subject import RoleName, RoleProcess, RunningRole, RunningSubject, SubjectError

log = logging.getLogger(__name__)

_GROUP_EMPTY_SECONDS = 40.0
_READY_SECONDS = 90.0
_DEPARTURE_SECONDS = 15.0
_LOOK_SECONDS = 0.1
_REQUEST_MS = 5000
_PARTS = ("broker", "database")


class Processes:
    """What can be done to processes. Acts of one scenario may come from several threads."""

    def __init__(self, stack: Stack, running: RunningSubject) -> None:
        self._stack = stack
        self._running = running
        self._baseline = {name: len(role) for name, role in running.roles.items()}
        self._watches: dict[str, list[tuple[list[RoleProcess], Any]]] = {}
        self._paused: set[str] = set()
        self._doubtful: set[str] = set()
        self._disturbed = False
        self._parts_away: set[str] = set()
        self._departing: set[str] = set()
        self._lock = threading.RLock()

    def doubt(self, names: Iterable[str]) -> None:
        """These processes may be about to give themselves up: `restore` starts them anew."""
        self._doubtful.update(names)

    def disturb(self) -> None:
        """Something is done to the stack by others: `restore` looks after its servers as well."""
        self._disturbed = True

    @property
    def are_disturbed(self) -> bool:
        """Whether something was done since the last `restore`."""
        return self._disturbed

    @property
    def are_all_running(self) -> bool:
        """Whether nothing of the subject's is away or stands still, and the stack's servers run as far as is known."""
        away = any(
            not process.is_running
            for name, role in self._running.roles.items()
            for process in role[: self._baseline[name]]
        )
        return not away and not self._paused and not self._parts_away

    def kill(self, writer: HistoryWriter, role: str, number: int | None) -> None:
        """SIGKILL, to one process or all that run."""
        for name, process in self._each(role, number):
            with contextlib.suppress(NotRunning):
                process.kill()
                writer.add("process", "killed", process=name)
                self._departing.add(role)
                self._note_away(name)
            self._paused.discard(name)

    def stop(self, writer: HistoryWriter, role: str, number: int | None) -> None:
        """An orderly end."""
        for name, process in self._each(role, number):
            process.stop()
            self._departing.add(role)
            self._note_away(name)
            writer.add("process", "stopped", process=name, exit_code=getattr(process, "exit_code", None))
            self._paused.discard(name)

    def start(self, writer: HistoryWriter, role: str, number: int | None) -> None:
        """Start what does not run; of a role, without waiting until it is ready."""
        if role in _PARTS:
            for name, part in self._each(role, number):
                self._guarded(part.start)
                # Who starts all brokers of a cluster starts each.
                self._parts_away = {one for one in self._parts_away if not f"{one}-".startswith(f"{name}-")}
                writer.add("process", "started", process=name)
            return
        ended = [process for process in self._role(role) if not process.is_running]
        if number is not None:
            ended = [process for process in ended if process.number == number]
            if not ended:
                raise SetUpBroke(self._nothing_hit(role, number, "stopped"))
        elif not any(process.is_running for process in self._role(role)):
            # Those that were added by an earlier act and removed again stay away.
            ended = ended[: self._baseline[cast(RoleName, role)]]
        self._launch(writer, role, ended)

    def restart(self, writer: HistoryWriter, role: str, number: int | None) -> None:
        """Stop in order, then start."""
        if role in _PARTS:
            self.stop(writer, role, number)
            self.start(writer, role, number)
            return
        names = [name for name, _ in self._each(role, number)]
        self.stop(writer, role, number)
        self._launch(writer, role, [process for process in self._role(role) if process.name in names])

    def pause(self, writer: HistoryWriter, role: str, number: int | None) -> None:
        """SIGSTOP."""
        for name, process in self._each(role, number):
            with contextlib.suppress(NotRunning):
                self._guarded(process.pause)
                self._paused.add(name)
                writer.add("process", "paused", process=name)

    def resume(self, writer: HistoryWriter, role: str, number: int | None) -> None:
        """SIGCONT."""
        for name, process in self._each(role, number):
            with contextlib.suppress(NotRunning):
                self._guarded(process.resume)
                self._paused.discard(name)
                writer.add("process", "resumed", process=name)

    def add(self, writer: HistoryWriter, role: str) -> None:
        """One more process, without waiting until it is ready."""
        self._disturbed = True
        self._launch(writer, role, [self._role(role).make()])

    def remove(self, writer: HistoryWriter, role: str) -> None:
        """Stop the last process that runs."""
        alive = [process for process in self._role(role) if process.is_running]
        if not alive:
            raise SetUpBroke(f"no process of the role {role} runs, so none can be removed")
        self.stop(writer, role, alive[-1].number)

    def lacking(self, role: str, writer: HistoryWriter | None = None) -> str | None:
        """What keeps a role from being ready; None when all its processes are. Those that have become ready since the last
        time are noted."""
        with self._lock:
            processes = list(self._role(role))
            if not any(process.is_running for process in processes):
                return f"no process of {role} runs"
            for entry in list(self._watches.get(role, ())):
                launched, watch = entry
                if any(process.is_running for process in launched) and (lacking := watch.why_not()) is not None:
                    return str(lacking)
                watch.close()
                self._watches[role].remove(entry)
                if writer is not None:
                    for process in launched:
                        if process.is_running:
                            writer.add("process", "ready", process=process.name)
            return None

    def redeliver(self, writer: HistoryWriter, group: str, offsets: dict[Any, int]) -> None:
        """Set a role's group back to these offsets while its processes are stopped, and start them again."""
        names = self._running.description.groups
        if group not in names:
            raise NotSupported(f"the consumer group of the role {group} is not known: name it in binding.groups")
        alive = [process for process in self._role(group) if process.is_running]
        if alive:
            self.stop(writer, group, None)
        with self._administering() as admin:
            read = set(admin.list_group_offsets({names[group]: None})[names[group]])
            _set_back(admin, names[group], {part: offset for part, offset in offsets.items() if part in read})
        self._launch(writer, group, alive)

    def restore(self) -> None:
        """Bring everything back to how it was at the start; returns once all is ready.

        Raises:
            StackError, SubjectError: it cannot be brought back; then the bench is of no use any more.
        """
        with self._lock:
            for part in (self._stack.broker, self._stack.database) if self._disturbed else ():
                with contextlib.suppress(NotInOurHands):
                    with contextlib.suppress(NotRunning):
                        part.resume()
                    part.start()
            for name, role in self._running.roles.items():
                for process in role:
                    if process.name in self._paused and process.is_running:
                        process.resume()
                    if process.name in self._doubtful:
                        process.stop()
                for process in role[self._baseline[name] :]:
                    if process.is_running:
                        process.stop()
                        self._departing.add(name)
            self._paused.clear()
            self._doubtful.clear()
            self._parts_away.clear()
            for name, role in self._running.roles.items():
                ended = [process for process in role[: self._baseline[name]] if not process.is_running]
                if ended:
                    self._watches.setdefault(name, []).append((ended, role.launch(ended)))
            for name in self._running.roles:
                self._await_ready(name)
            self._disturbed = False

    def await_departures(self) -> None:
        """Wait until processes that have ended are no members of their groups any more, a usual session at most.

        Until then Kafka keeps their partitions for them, and nobody reads what comes there: a scenario that begins in such a
        moment and has time-outs of its own would be about the one before it."""
        with self._lock:
            departing, self._departing = self._departing, set()
            groups = {role: self._running.description.groups.get(role) for role in departing & set(self._running.roles)}
            if not any(groups.values()):
                return
            deadline = time.monotonic() + _DEPARTURE_SECONDS
            with self._administering() as admin:
                for role, group in groups.items():
                    running = sum(process.is_running for process in self._role(role))
                    while group and len(admin.describe_groups([group])[group]["members"]) > running:
                        if time.monotonic() > deadline:
                            log.warning("members of the group %s stay although their processes have ended", group)
                            break
                        time.sleep(_LOOK_SECONDS)

    @contextlib.contextmanager
    def _administering(self) -> Iterator[KafkaAdminClient]:
        admin = KafkaAdminClient(
            bootstrap_servers=self._stack.kafka_brokers.split(","),
            request_timeout_ms=_REQUEST_MS,
            bootstrap_timeout_ms=_REQUEST_MS,
        )
        try:
            yield admin
        finally:
            admin.close()

    def close(self) -> None:
        """Let go of the watches."""
        for entries in self._watches.values():
            for _, watch in entries:
                watch.close()
        self._watches.clear()

    def _await_ready(self, role: str) -> None:
        try:
            Retrying(
                retry=retry_if_result(lambda lacking: lacking is not None),
                stop=stop_after_delay(_READY_SECONDS),
                wait=wait_fixed(0.05),
            )(self.lacking, role)
        except RetryError as error:
            raise SubjectError(f"{role} is not ready {_READY_SECONDS:.0f} s after it was started again") from error

    def _launch(self, writer: HistoryWriter, role: str, processes: list[RoleProcess]) -> None:
        if not processes:
            return
        with self._lock:
            self._disturbed = True
            try:
                watch = self._role(role).launch(processes)
            except SubjectError as error:
                raise SetUpBroke(str(error)) from error
            self._watches.setdefault(role, []).append((processes, watch))
        for process in processes:
            writer.add("process", "started", process=process.name)

    def _each(self, role: str, number: int | None) -> Iterator[tuple[str, Any]]:
        """What an act is about. Raises :class:`SetUpBroke` when that is nothing: what was not done proves nothing."""
        self._disturbed = True
        if role in _PARTS:
            part: Part = getattr(self._stack, role)
            yield (role, part) if number is None else (f"{role}-{number}", _one_of(role, part, number))
            return
        hit = [process for process in list(self._role(role)) if process.is_running and number in (None, process.number)]
        if not hit:
            raise SetUpBroke(self._nothing_hit(role, number, "running"))
        for process in hit:
            yield process.name, process

    def _nothing_hit(self, role: str, number: int | None, state: str) -> str:
        processes = list(self._role(role))
        told = ", ".join(f"{one.name} ({'runs' if one.is_running else 'does not run'})" for one in processes) or "none"
        what = f"a {state} process of the role {role}" + (f" with the number {number}" if number is not None else "")
        return f"expected {what}, found {told}: the act would do nothing; name another one, or add it first"

    def _role(self, role: str) -> RunningRole:
        if role not in self._running.roles:
            raise NotSupported(f"the harness plays the role {role}, and nothing can be done to its processes")
        return self._running.role(cast(RoleName, role))

    def _note_away(self, name: str) -> None:
        if name.partition("-")[0] in _PARTS:
            self._parts_away.add(name)

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except NotInOurHands as error:
            raise NotSupported(str(error)) from error
        except NotRunning:
            raise
        except StackError as error:
            raise SetUpBroke(str(error)) from error


def _one_of(role: str, part: Part, number: int) -> Part:
    """One server of several. Raises :class:`NotSupported`, :class:`SetUpBroke`."""
    members: Sequence[Part] | None = getattr(part, "members", None)
    if members is None:
        raise NotSupported(
            f"the stack has one {role} alone: a single one of several brokers is there with --stack cluster"
        )
    if number > len(members):
        raise SetUpBroke(f"the stack has {len(members)} {role}s, so that there is none with the number {number}")
    return members[number - 1]


def _set_back(admin: Any, group: str, offsets: dict[Any, int]) -> None:
    """Set a group's offsets once it has no members; members that have not said goodbye are removed."""

    def attempt() -> bool:
        try:
            outcome = admin.reset_group_offsets(group, offsets)
            if all(told["error"] is NoError for told in outcome.values()):
                return True
            members = admin.describe_groups([group])[group]["members"]
            if members:
                admin.remove_group_members(group, [_member(member) for member in members])
        except KafkaError as error:
            log.debug("the group %s cannot be set back yet: %r", group, error)
        return False

    try:
        Retrying(
            retry=retry_if_result(lambda done: not done),
            stop=stop_after_delay(_GROUP_EMPTY_SECONDS),
            wait=wait_fixed(0.2),
        )(attempt)
    except RetryError as error:
        raise SetUpBroke(
            f"the offsets of the group {group} could not be set back within {_GROUP_EMPTY_SECONDS:.0f} s"
        ) from error


def _member(member: dict[str, Any]) -> MemberToRemove:
    # A static member stays in its group after its end, until its session times out.
    return MemberToRemove(member_id=member["member_id"], group_instance_id=member.get("group_instance_id"))
