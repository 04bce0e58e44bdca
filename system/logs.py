"""Log lines, as text or as JSON; `run_id` and `step_id` stand on every line that was given them (`extra=`)."""

from __future__ import annotations

import logging
import sys
import time

import orjson

_CONTEXT = ("run_id", "step_id", "task_id", "agent_name", "topic")


class _TextFormatter(logging.Formatter):
    converter = time.gmtime  # type: ignore[assignment]  # a built-in is not bound as a method

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        context = " ".join(f"{name}={getattr(record, name)}" for name in _CONTEXT if hasattr(record, name))
        return f"{line} [{context}]" if context else line


class _JsonFormatter(logging.Formatter):
    converter = time.gmtime  # type: ignore[assignment]  # a built-in is not bound as a method

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _CONTEXT if hasattr(record, name)})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(level: str, log_format: str) -> None:
    """Send everything at `level` and above to standard output, in one of the formats `text` and `json`."""
    handler = logging.StreamHandler(sys.stdout)
    if log_format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(
            _TextFormatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        )
    logging.basicConfig(level=level, handlers=[handler], force=True)
