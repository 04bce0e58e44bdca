"""A steady load for a long time while everything fails in turn, and at its end a ledger: nothing lost, stuck or done twice."""

from harness.soak.ledger import Ledger, Snapshot
from harness.soak.schedule import GROUPS, Planned, schedule
from harness.soak.session import Soak

__all__ = ["GROUPS", "Ledger", "Planned", "Snapshot", "Soak", "schedule"]
