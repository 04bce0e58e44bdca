"""Messages that are not valid, set aside with the reason so that the ones behind them go on (contract, section 6, Delivery).

The letter keeps the original key and bytes; everything that is known about it stands in its headers, as UTF-8:
`reason`, `source_topic`, `source_partition`, `source_offset`, `timestamp`. Headers of the original that are not
among these are kept behind them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from system.ports import Message, Received

SUFFIX = ".dlq"

# Headers that a letter has of its own.
OWN_HEADERS = frozenset(("reason", "source_topic", "source_partition", "source_offset", "timestamp", "value"))
_REASON_LIMIT_CHARACTERS = 2000


def topic_of(source_topic: str) -> str:
    """The topic that takes the dead letters of a topic."""
    return source_topic + SUFFIX


def dead_letter(received: Received, reason: str, now: datetime) -> Message:
    """The letter for `<topic>.dlq`: original key and bytes, and headers that say why, where from and when.

    A tombstone (no value) becomes an empty value; the reason is cut at 2,000 characters.
    """
    known = (
        ("reason", reason[:_REASON_LIMIT_CHARACTERS].encode("utf-8", "replace")),
        ("source_topic", received.topic.encode()),
        ("source_partition", str(received.partition).encode()),
        ("source_offset", str(received.offset).encode()),
        ("timestamp", now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()),
    )
    kept = tuple((name, value) for name, value in received.headers if name not in OWN_HEADERS)
    return Message(topic_of(received.topic), received.key or b"", received.value or b"", known + kept)


def without_value(letter: Message) -> Message:
    """The letter with its bytes left out, for when Kafka refuses it whole; where it came from still stands in it."""
    note = ("value", f"left out: Kafka refused the letter with its {len(letter.value)} bytes".encode())
    own = tuple((name, value) for name, value in letter.headers if name in OWN_HEADERS)
    return replace(letter, key=b"", value=b"", headers=(*own, note))
