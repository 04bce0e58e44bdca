"""Statements that PostgreSQL parses and plans once for each connection, instead of each time.

psycopg2 sends every statement as a text. For the few large ones that are carried out for each batch and each request,
parsing and planning them are a third of PostgreSQL's work; `PREPARE` and `EXECUTE` are SQL, and need no other driver.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import Connection, Engine, TextClause, event, text

_OPTION: Final = "plumbline_prepared"
_PLACE: Final = re.compile(r"%\((\w+)\)s")


def prepared(statement: str) -> TextClause:
    """A text of which connections of an engine that has `use_prepared` keep the plan.

    A parameter whose type does not follow from its first place needs a cast there.
    """
    return text(statement).execution_options(**{_OPTION: True})


def use_prepared(engine: Engine) -> None:
    """Have an engine on psycopg2 prepare what is `prepared`, on each connection at its first use."""

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def rewrite(
        connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> tuple[str, Any]:
        if executemany or not context.execution_options.get(_OPTION):
            return statement, parameters
        # Belongs to the connection of the driver, and is gone with it.
        known: dict[str, str] = connection.info.setdefault(_OPTION, {})
        call = known.get(statement)
        if call is None:
            name = f"plumbline_{len(known)}"
            names = list(dict.fromkeys(_PLACE.findall(statement)))
            numbered = _PLACE.sub(lambda place: f"${names.index(place[1]) + 1}", statement).replace("%%", "%")
            # Without parameters psycopg2 takes a text as it is.
            cursor.execute(f"PREPARE {name} AS {numbered}")
            places = ", ".join(f"%({one})s" for one in names)
            call = known[statement] = f"EXECUTE {name} ({places})" if names else f"EXECUTE {name}"
        return call, parameters
