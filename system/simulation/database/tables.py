"""Tables in memory: committed rows, the changes of open transactions, row locks and advisory locks.

READ COMMITTED as PostgreSQL does it, as far as the reference's statements can tell: a statement sees what is committed
when it begins and what its own transaction has done; whoever changes a row that an open transaction has changed waits
for that transaction to end and then looks at the row again; the same for a key that an open transaction has inserted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Values = dict[str, Any]


class Blocked(Exception):
    """A statement has to wait until a session has ended its transaction or given a lock back."""

    def __init__(self, by: Session) -> None:
        self.by = by


class Row:
    """A row: what is committed of it, and what the transaction that holds it has made of it (None is no row)."""

    __slots__ = ("committed", "holder", "pending")

    def __init__(self) -> None:
        self.committed: Values | None = None
        self.pending: Values | None = None
        self.holder: Transaction | None = None


class Table:
    """Rows by key, in the order in which they were first inserted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[Any, Row] = {}
        self.next_id = 1
        self.by_run: dict[str, dict[Any, None]] = {}
        """Keys by run_id, those of open transactions among them."""

    def fresh_id(self) -> int:
        """The next number of the identity column; numbers of what is rolled back are not used again."""
        self.next_id += 1
        return self.next_id - 1

    def forget(self, key: Any, values: Values | None) -> None:
        """Take a row that is no more out of `by_run`."""
        if values is not None and "run_id" in values:
            self.by_run.get(values["run_id"], {}).pop(key, None)

    def committed(self) -> Iterator[Values]:
        """All committed rows."""
        return (row.committed for row in self.rows.values() if row.committed is not None)


class Session:
    """A connection at the server: alive until its end is noticed. `on_end` run when a transaction ends or it dies."""

    def __init__(self, database: Tables) -> None:
        self.database = database
        self.alive = True
        self.locks: dict[Any, int] = {}
        self.transaction: Transaction | None = None
        self.on_end: list[Callable[[], None]] = []
        self.waits_for: Session | None = None

    def begin(self) -> Transaction:
        """The open transaction, begun if there is none."""
        if self.transaction is None:
            self.transaction = Transaction(self)
        return self.transaction

    def told(self) -> None:
        """Let those who wait look again."""
        waiting, self.on_end = self.on_end, []
        for wake in waiting:
            wake()

    def die(self) -> None:
        """The server notices that nobody is at the other end."""
        if self.alive:
            self.alive = False
            if self.transaction is not None:
                self.transaction.rollback()
            for key in self.locks:
                self.database.advisory.pop(key, None)
            self.locks.clear()
            self.told()


class Tables:
    """The database. `on_commit` is called after each commit that changed rows: (table, key, before, after) of each."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.tables = {name: Table(name) for name in names}
        self.advisory: dict[Any, Session] = {}
        self.on_commit: Callable[[list[tuple[str, Any, Values | None, Values | None]]], None] = lambda _: None

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]


class Transaction:
    """What one transaction sees and does."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.database = session.database
        self._touched: dict[tuple[str, Any], Row] = {}
        self._locks: list[Any] = []

    def get(self, table: str, key: Any) -> Values | None:
        """The row as this transaction sees it."""
        row = self.database.tables[table].rows.get(key)
        if row is None:
            return None
        return row.pending if row.holder is self else row.committed

    def all(self, table: str) -> Iterator[tuple[Any, Values]]:
        """Rows as this transaction sees them, with their keys."""
        for key, row in list(self.database.tables[table].rows.items()):
            values = row.pending if row.holder is self else row.committed
            if values is not None:
                yield key, values

    def of_runs(self, table: str, run_ids: list[str]) -> Iterator[tuple[Any, Values]]:
        """Rows of some runs, with their keys."""
        index = self.database.tables[table].by_run
        for run_id in run_ids:
            for key in list(index.get(run_id, ())):
                values = self.get(table, key)
                if values is not None:
                    yield key, values

    def hold(self, table: str, key: Any) -> Values | None:
        """Lock a row, and give it as it is now.

        Raises:
            Blocked: another transaction holds it.
        """
        rows = self.database.tables[table].rows
        row = rows.get(key)
        if row is None:
            row = rows[key] = Row()
        if row.holder is not self:
            if row.holder is not None:
                raise Blocked(row.holder.session)
            row.holder = self
            row.pending = row.committed
            self._touched[table, key] = row
        return row.pending

    def is_held_by_another(self, table: str, key: Any) -> bool:
        """Whether another transaction holds a row."""
        row = self.database.tables[table].rows.get(key)
        return row is not None and row.holder is not None and row.holder is not self

    def put(self, table: str, key: Any, values: Values | None) -> None:
        """Set a row that is held; None removes it."""
        self._touched[table, key].pending = values
        if values is not None and "run_id" in values:
            self.database.tables[table].by_run.setdefault(values["run_id"], {})[key] = None

    def insert(self, table: str, key: Any, values: Values) -> bool:
        """A new row; False when the key is taken. Raises Blocked while that is not decided."""
        if self.hold(table, key) is not None:
            return False
        self.put(table, key, values)
        return True

    def lock(self, key: Any) -> None:
        """An advisory lock until the end of the transaction. Raises Blocked."""
        if not self.try_lock(key):
            raise Blocked(self.database.advisory[key])

    def try_lock(self, key: Any) -> bool:
        """An advisory lock until the end of the transaction, if it is free."""
        holder = self.database.advisory.get(key)
        if holder is not None and holder is not self.session:
            return False
        if holder is None:
            self.database.advisory[key] = self.session
            self._locks.append(key)
        return True

    def commit(self) -> None:
        """Make all changes seen, and let those who waited go on."""
        changes = []
        tables = self.database.tables
        for (name, key), row in self._touched.items():
            before, after = row.committed, row.pending
            row.committed, row.pending, row.holder = after, None, None
            table = tables[name]
            if after is None:
                table.rows.pop(key, None)
                table.forget(key, before)
            if before is not after:
                changes.append((name, key, before, after))
        self._end()
        if changes:
            self.database.on_commit(changes)

    def rollback(self) -> None:
        """Undo all changes."""
        for (name, key), row in self._touched.items():
            pending, row.pending, row.holder = row.pending, None, None
            if row.committed is None:
                self.database.tables[name].rows.pop(key, None)
                self.database.tables[name].forget(key, pending)
        self._end()

    def _end(self) -> None:
        self._touched = {}
        for key in self._locks:
            self.database.advisory.pop(key, None)
        self._locks = []
        self.session.transaction = None
        self.session.told()
