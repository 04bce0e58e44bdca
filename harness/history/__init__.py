"""The history of a scenario: everything observed and done, in the order in which the harness saw it."""

from harness.history.event import Event, Source
from harness.history.file import HistoryError, HistoryWriter, read_history
from harness.history.history import History

__all__ = ["Event", "History", "HistoryError", "HistoryWriter", "Source", "read_history"]
