"""The placeholders of a subject file: ``{database_url}``, ``{port:api}`` and the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

NAMES: Final = ("database_url", "kafka_brokers", "api_url", "agent_registry_url", "python", "prefix")
"""Those that stand by themselves; ``{port:NAME}`` takes a word."""

WITH_A_WORD: Final = ("port",)
_PREFIX = re.compile(r"(?<!\{)\{prefix\}(?!\})")
_PLACEHOLDER = re.compile(r"\{\{([a-z_]+(?::[A-Za-z0-9_-]+)?)\}\}|\{([a-z_]+)(?::([A-Za-z0-9_-]+))?\}")


def used(text: str) -> Iterator[tuple[str, str | None]]:
    """(name, word) of each placeholder in a text; the word is None where there is none."""
    for match in _PLACEHOLDER.finditer(text):
        if match[1] is None:
            yield match[2], match[3]


def filled(text: str, value: Callable[[str, str | None], str]) -> str:
    """The text with each placeholder replaced by its value; what is in double braces keeps one pair of them."""
    return _PLACEHOLDER.sub(
        lambda match: "{" + match[1] + "}" if match[1] is not None else value(match[2], match[3]), text
    )


def with_prefix(text: str, prefix: str) -> str:
    """The text with its ``{prefix}`` filled in, and all else as it was."""
    return _PREFIX.sub(lambda _: prefix, text)


def is_known(name: str, word: str | None) -> bool:
    """Whether there is such a placeholder."""
    return name in NAMES if word is None else name in WITH_A_WORD


def spelled() -> tuple[str, ...]:
    """Every placeholder as it is written."""
    return (*(f"{{{name}}}" for name in NAMES), *(f"{{{name}:NAME}}" for name in WITH_A_WORD))
