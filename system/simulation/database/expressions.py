"""Statements that SQLAlchemy builds from expressions, on one table each: select, insert and update.

Only what the reference writes is understood; anything else is refused loudly.
"""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Select
from sqlalchemy.sql import operators
from sqlalchemy.sql.dml import Insert, Update
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, Cast, Grouping, Label
from sqlalchemy.sql.selectable import Exists, ScalarSelect

from system.simulation.database.jsonb import as_text, jsonb
from system.simulation.database.tables import Transaction, Values

_KEYS: dict[str, tuple[str, ...]] = {
    "workflow_definitions": ("id",),
    "workflow_definition_versions": ("definition_id", "version"),
    "workflow_plans": ("digest",),
    "workflow_runs": ("run_id",),
    "step_executions": ("run_id", "path", "generation"),
    "agents": ("name",),
}
_COMPARISONS: dict[Any, Callable[[Any, Any], bool]] = {operators.eq: python.eq, operators.ne: python.ne}

Answer = tuple[tuple[str, ...], list[tuple[Any, ...]], int]
Work = Callable[[Transaction, Mapping[str, Any]], Answer]


def compiled(statement: Any) -> tuple[str, Work]:
    """(title, function) of a statement. Raises NotImplementedError for what is not understood."""
    if isinstance(statement, Select):
        columns = list(statement.selected_columns)
        if len(columns) == 1 and isinstance(columns[0], Exists | Label) and _inner(columns[0]) is not None:
            return "exists", _exists(_inner(columns[0]))
        return f"select {_table(statement)}", _select(statement)
    if isinstance(statement, Update):
        return f"update {_named(statement.table)}", _update(statement)
    if isinstance(statement, Insert):
        return f"insert {_named(statement.table)}", _insert(statement)
    raise _unknown(statement)


def _named(table: Any) -> str:
    return str(table.name)


def _unknown(what: Any) -> NotImplementedError:
    return NotImplementedError(f"the simulated database does not understand {type(what).__name__}: {what}")


def _inner(column: Any) -> Select[Any] | None:
    element = column.element if isinstance(column, Label) else column
    if not isinstance(element, Exists):
        return None
    inner: Any = element.element
    while isinstance(inner, Grouping | ScalarSelect):
        inner = inner.element
    return inner if isinstance(inner, Select) else None


def _table(statement: Select[Any]) -> str:
    tables = {_source(column).table.name for column in statement.selected_columns}
    if len(tables) != 1:
        raise _unknown(statement)
    return str(tables.pop())


def _source(column: Any) -> Any:
    if isinstance(column, Label):
        return _source(column.element)
    return _source(column.clause) if isinstance(column, Cast) else column


def _select(statement: Select[Any]) -> Work:
    table = _table(statement)
    locks = statement._for_update_arg is not None
    columns = list(statement.selected_columns)
    names = tuple(column.key or column.name for column in columns)
    conditions = statement._where_criteria

    def work(tx: Transaction, _: Mapping[str, Any]) -> Answer:
        rows = []
        for key, values in _matching(tx, table, conditions):
            if locks:
                now = tx.hold(table, key)
                if now is None or not _holds(now, conditions):
                    continue
                values = now
            rows.append(tuple(_value(column, values) for column in columns))
        return names, rows, len(rows)

    return work


def _exists(inner: Select[Any] | None) -> Work:
    assert inner is not None
    criteria = inner._where_criteria
    table = next(_tables_of(criteria))

    def work(tx: Transaction, _: Mapping[str, Any]) -> Answer:
        return ("anon_1",), [(any(True for _ in _matching(tx, table, criteria)),)], 1

    return work


def _tables_of(criteria: Iterable[Any]) -> Iterator[Any]:
    for part in criteria:
        if isinstance(part, BooleanClauseList):
            yield from _tables_of(part.clauses)
        else:
            yield part.left.table.name


def _update(statement: Any) -> Work:
    table, conditions = statement.table.name, statement._where_criteria
    returning = list(statement._returning)
    names = tuple(column.key or column.name for column in returning)

    def work(tx: Transaction, _: Mapping[str, Any]) -> Answer:
        held = []
        for key, _seen in list(_matching(tx, table, conditions)):
            now = tx.hold(table, key)
            if now is not None and _holds(now, conditions):
                held.append((key, now))
        rows = []
        for key, before in held:
            after = before | {_name(column): _value(value, before) for column, value in statement._values.items()}
            tx.put(table, key, after)
            rows.append(tuple(_value(column, after) for column in returning))
        return names, rows, len(held)

    return work


def _insert(statement: Any) -> Work:
    table = statement.table.name
    if statement._returning or statement._post_values_clause is not None:
        raise _unknown(statement)

    def work(tx: Transaction, given: Mapping[str, Any]) -> Answer:
        values: Values = {column.name: None for column in statement.table.columns}
        values |= {name: value for name, value in given.items() if name in values}
        values |= {_name(column): _value(value, {}) for column, value in (statement._values or {}).items()}
        number = tx.database[table].fresh_id()
        key = tuple(values[name] for name in _KEYS[table]) if table in _KEYS else number
        if "id" in values and values["id"] is None:
            values["id"] = number
        if "created_at" in values and values["created_at"] is None:
            values["created_at"] = given["now()"]
        if not tx.insert(table, key[0] if isinstance(key, tuple) and len(key) == 1 else key, values):
            raise _unknown(f"{statement} on a key that is taken")
        return (), [], 1

    return work


def _name(column: Any) -> str:
    return column if isinstance(column, str) else str(column.name)


def _matching(tx: Transaction, table: str, conditions: Iterable[Any]) -> Iterable[tuple[Any, Values]]:
    key = _key_of(table, conditions)
    if key is not None:
        values = tx.get(table, key)
        candidates: Iterable[tuple[Any, Values]] = [] if values is None else [(key, values)]
    else:
        candidates = tx.all(table)
    return [(key, values) for key, values in candidates if _holds(values, conditions)]


def _key_of(table: str, conditions: Iterable[Any]) -> Any:
    """The key that the conditions name, if it is of one column."""
    names = _KEYS.get(table, ())
    for part in conditions:
        if len(names) == 1 and isinstance(part, BinaryExpression) and part.operator is operators.eq:
            left: Any = part.left
            if left.name == names[0]:
                return _value(part.right, {})
    return None


def _holds(values: Values, conditions: Iterable[Any]) -> bool:
    return all(_is_true(part, values) for part in conditions)


def _is_true(part: Any, values: Values) -> bool:
    if isinstance(part, BooleanClauseList) and part.operator is operators.and_:
        return _holds(values, part.clauses)
    if isinstance(part, BinaryExpression):
        left, right = _value(part.left, values), _value(part.right, values)
        if part.operator is operators.in_op:
            return left in right
        if part.operator in _COMPARISONS:
            return left is not None and right is not None and _COMPARISONS[part.operator](left, right)
    raise _unknown(part)


def _value(expression: Any, values: Values) -> Any:
    if isinstance(expression, Column):
        return values[expression.name]
    if isinstance(expression, BindParameter):
        value = expression.effective_value
        return jsonb(value) if isinstance(value, dict | list) and not expression.expanding else value
    if isinstance(expression, Label):
        return _value(expression.element, values)
    if isinstance(expression, Cast):
        # To text, of a jsonb column.
        value = _value(expression.clause, values)
        return None if value is None else as_text(value)
    if isinstance(expression, BinaryExpression) and expression.operator is operators.add:
        return _value(expression.left, values) + _value(expression.right, values)
    raise _unknown(expression)
