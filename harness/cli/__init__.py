"""The command ``plumbline``."""

from harness.cli.commands import main

__all__ = ["main"]
