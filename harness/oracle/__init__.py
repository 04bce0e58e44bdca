"""The oracle: an interpreter of the contract, written from its text and clauses, that shares nothing with any executor.

>>> from harness.oracle import allowed
>>> workflow = {"name": "w", "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "worker"}}}
>>> allowed(workflow, {}, {"worker": [{"ok": {"done": 1}}]}).statuses
frozenset({'COMPLETED'})
"""

from harness.oracle.allowed import Allowed, allowed
from harness.oracle.certainty import doubt
from harness.oracle.differences import Difference, Observed, Row, Task, differences
from harness.oracle.interpretation import interpret
from harness.oracle.plan import NotAPlan, Plan
from harness.oracle.rounds import Execution, Path, Round, shown_path
from harness.oracle.wildcards import Said, Undecided

__all__ = [
    "Allowed",
    "Difference",
    "Execution",
    "NotAPlan",
    "Observed",
    "Path",
    "Plan",
    "Round",
    "Row",
    "Said",
    "Task",
    "Undecided",
    "allowed",
    "differences",
    "doubt",
    "interpret",
    "shown_path",
]
