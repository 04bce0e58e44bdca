"""Mutants that no generated case can reach, each with the reason: hand-written scenarios and planned faults kill them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PUT = "No definition is changed while runs of it are under way."
_DELETED = "No definition is deleted."
_LISTS = "Lists of runs are not read: what stands in them is made by all runs that are under way."
_POISON = (
    "A message that is not valid would stay in its partition and spoil the subject for all other runs, so none is sent."
)
_FIELDS = "Messages of the harness have the fields of their schemas, all of them and no others."
_CIRCUIT = (
    "How often an agent has to fail before it is left alone, and for how long, is the bridge's own choice (SHOULD): "
    "the oracle says nothing of it."
)

BEYOND: Final[Mapping[str, str]] = {
    "taken-names-accepted": "No two definitions have one name.",
    "put-changes-running-runs": _PUT,
    "put-keeps-the-version": _PUT,
    "retry-takes-the-current-version": _PUT,
    "deleted-names-stay-taken": _DELETED,
    "deleted-workflows-listed": _DELETED,
    "pages-overlap": _LISTS,
    "pages-shift": _LISTS,
    "page-sizes-clamped": _LISTS,
    "created-before-is-inclusive": _LISTS,
    "status-filter-ignored": _LISTS,
    "oldest-runs-first": _LISTS,
    "order-of-runs-ignored": _LISTS,
    "secrets-shown": "Records of agents are not read over REST.",
    "idempotency-key-ignored": "No run is asked for with an Idempotency-Key (an extension).",
    "poison-blocks-its-partition": _POISON,
    "poison-kills": _POISON,
    "poison-vanishes": _POISON,
    "invalid-tasks-kill": _POISON,
    "unknown-fields-refused": _FIELDS,
    "unknown-fields-refused-by-the-bridge": _FIELDS,
    "absent-is-not-null": _FIELDS,
    "run-ids-folded": "Ids of runs are random; no two differ by case alone.",
    "result-by-task-id-alone": "No result names the task of another run.",
    "plan-of-the-last-request": "A retry carries the plan and the input that its run has.",
    "hindered-messages-set-aside": "The database refuses nothing: that takes a planned fault.",
    "delivered-without-an-offset": "Kafka answers as it does: that takes a planned fault.",
    "outbox-never-swept": "The API is ended while no request is under way, and by then it has sent what it accepted.",
    "time-outs-die-with-their-process": "What a time-out comes to when a process dies before it is over is left open by the oracle.",
    "backoff-unbounded": "A pause that is too long cannot be told from a machine that is busy.",
    "one-circuit-for-all": "So many runs are under way that tasks which are answered come between those that fail, and no circuit opens.",
    "no-circuit": _CIRCUIT,
    "circuit-stays-open": _CIRCUIT,
    "answers-to-others-taken": "Agents answer under the id that they are asked by (AGT-24 is a SHOULD, of which the oracle says nothing).",
    "secrets-told": "No answer repeats a credential.",
}
