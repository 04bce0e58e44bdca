"""PostgreSQL's protocol, as much of it as tells when something is committed. Source: chapter "Frontend/Backend Protocol" of
the manual of PostgreSQL 18."""

from __future__ import annotations

import re
import struct
from typing import Final

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
NO_SUCH_PORTAL: Final = "plumbline_no_such_portal"

MESSAGES: Final = {
    "error_retriable": ("ERROR", "40001", "could not serialize access due to concurrent update"),
    "deadlock": ("ERROR", "40P01", "deadlock detected"),
    "error_fatal": ("FATAL", "57P01", "terminating connection due to administrator command"),
    "error_lost": ("FATAL", "57P01", "terminating connection due to administrator command"),
}
"""Kind of fault → severity, SQLSTATE and message of the error that PostgreSQL would give."""

_COMMENT: Final = re.compile(rb"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_WORD: Final = re.compile(rb"[A-Za-z]+")
_COMMIT: Final = re.compile(rb"(?:^|;)\s*(?:commit|end)\b", re.IGNORECASE)
_ROLLBACK: Final = re.compile(rb"(?:^|;)\s*(?:rollback|abort)\b(?!\s+(?:(?:work|transaction)\s+)?to\b)", re.IGNORECASE)
_BEGIN: Final = re.compile(rb"(?:^|;)\s*(?:begin|start\s+transaction)\b", re.IGNORECASE)
_BEGIN_AND_MORE: Final = re.compile(rb"(?:begin|start\s+transaction)\b[^;']*;(?=\s*[^\s;])", re.IGNORECASE)
_CHANGES: Final = frozenset(
    (b"insert", b"update", b"delete", b"merge", b"copy", b"truncate", b"create", b"drop", b"alter")
)
_TABLE: Final = re.compile(
    rb"\b(?:insert\s+into|delete\s+from|merge\s+into|copy|truncate(?:\s+table)?)\s+(?:only\s+)?([\w.\"]+)"
    rb"|\bupdate\s+(?:only\s+)?([\w.\"]+)\s+(?:(?:as\s+)?\w+\s+)?set\b",
    re.IGNORECASE,
)
_ROWS: Final = re.compile(rb"(?:INSERT \d+|UPDATE|DELETE|MERGE|COPY) (\d+)")
_MOST_LOOKED_AT: Final = 1 << 16
_NAME: Final = rb"(\"(?:[^\"]|\"\")+\"|\w+)"
_PREPARE: Final = re.compile(rb"prepare\s+" + _NAME + rb"\s*(?:\([^)]*\)\s*)?\bas\b(.*)", re.IGNORECASE | re.DOTALL)
_EXECUTE: Final = re.compile(rb"execute\s+" + _NAME, re.IGNORECASE)


def first_word(sql: bytes) -> bytes:
    """The first keyword of a statement, lower case, past comments."""
    found = _WORD.match(sql, _begin(sql))
    return found.group().lower() if found is not None else b""


def prepared(sql: bytes) -> tuple[bytes, bytes] | None:
    """The name and the statement that SQL's own PREPARE keeps; None for anything else."""
    found = _PREPARE.match(sql, _begin(sql))
    return (_folded(found[1]), found[2]) if found is not None else None


def executed(sql: bytes) -> bytes | None:
    """The name of the statement that SQL's own EXECUTE carries out; None for anything else."""
    found = _EXECUTE.match(sql, _begin(sql))
    return _folded(found[1]) if found is not None else None


def _begin(sql: bytes) -> int:
    at = 0
    while (gap := _COMMENT.match(sql, at)) is not None:
        at = gap.end()
    return at


def _folded(name: bytes) -> bytes:
    """A name as PostgreSQL knows it."""
    return name[1:-1].replace(b'""', b'"') if name.startswith(b'"') else name.lower()


def commits(sql: bytes) -> bool:
    """Whether a query ends a transaction for good by COMMIT or END."""
    return first_word(sql) in (b"commit", b"end") or (
        b";" in sql[:-1] and _COMMIT.search(sql[:_MOST_LOOKED_AT]) is not None
    )


def begins(sql: bytes) -> bool:
    """Whether a query begins a transaction."""
    return first_word(sql) in (b"begin", b"start") or (b";" in sql[:-1] and _BEGIN.match(sql) is not None)


def after_begin(sql: bytes) -> bytes | None:
    """What a query asks for besides beginning a transaction; None when it does not begin with that, or asks no more."""
    found = _BEGIN_AND_MORE.match(sql, _begin(sql))
    return sql[found.end() :] if found is not None else None


def rolls_back(sql: bytes) -> bool:
    """Whether a query gives a transaction up as a whole."""
    return _ROLLBACK.match(sql) is not None


def may_change(sql: bytes) -> bool:
    """Whether a statement changes data, by its first word."""
    word = first_word(sql)
    return word in _CHANGES or (word == b"with" and _TABLE.search(sql[:_MOST_LOOKED_AT]) is not None)


def has_changed(sql: bytes, tag: bytes) -> bool:
    """Whether a statement has changed something, by the tag of its CommandComplete."""
    rows = _ROWS.fullmatch(tag)
    if rows is not None:
        return int(rows[1]) > 0
    word = tag.split(b" ", 1)[0].lower()
    return word in _CHANGES or (word == b"select" and first_word(sql) == b"with" and may_change(sql))


def tables(sql: bytes) -> list[str]:
    """The tables that a statement writes to, without their schemas."""
    found = _TABLE.findall(sql[:_MOST_LOOKED_AT])
    names = {(one or other).rsplit(b".", 1)[-1].strip(b'"').decode("utf-8", "replace") for one, other in found}
    return sorted(names) or ["schema"]


def message(kind: bytes, payload: bytes) -> bytes:
    """A message with its type and length."""
    return kind + struct.pack(">I", len(payload) + 4) + payload


def error_response(severity: str, code: str, text: str) -> bytes:
    """An ErrorResponse."""
    fields = (("S", severity), ("V", severity), ("C", code), ("M", text))
    return message(b"E", b"".join(f"{name}{value}".encode() + b"\0" for name, value in fields) + b"\0")


def text_at(payload: bytes, at: int) -> tuple[bytes, int]:
    """A null-terminated text and the position after it."""
    end = payload.index(b"\0", at)
    return payload[at:end], end + 1
