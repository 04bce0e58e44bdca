"""What runs are listed: filters, order and the page, as one query for the rows and one for their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, RowMapping, Text, cast, func, or_, select

from system.api import store_runs
from system.tables import step_executions, workflow_runs

_R = workflow_runs.c
_S = step_executions.c

STATUSES = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
SORTS = ("created_at", "updated_at", "completed_at", "status", "workflow_name")

_STEP_COLUMNS = tuple(
    cast(column, Text).label(column.name) if column.name in ("input_data", "output_data") else column for column in _S
)


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of runs: which, in which order, and which of them.

    `as_of` is the highest row id that counts: pages that share it are not shifted by runs that are added meanwhile.
    """

    status: str | None
    workflow_id: str | None
    definition_id: UUID | None
    created_after: datetime | None
    created_before: datetime | None
    sort_by: str
    descending: bool
    page: int
    page_size: int
    as_of: int | None


def runs(connection: Connection, listing: Listing) -> tuple[Sequence[RowMapping], int, int]:
    """The rows of the page, how many all pages have, and the mark that later pages are asked for with."""
    as_of = listing.as_of
    if as_of is None:
        as_of = connection.execute(select(func.coalesce(func.max(_R.id), 0))).scalar_one()
    conditions = [_R.id <= as_of, *_conditions(listing)]
    total = connection.execute(select(func.count()).select_from(workflow_runs).where(*conditions)).scalar_one()
    first = (listing.page - 1) * listing.page_size
    if first >= total:
        return (), total, as_of
    keys: list[ColumnElement[object]] = [_R[listing.sort_by], _R.id]
    order = [key.desc().nulls_last() if listing.descending else key.asc().nulls_last() for key in keys]
    if listing.sort_by == "created_at":
        # The plain order, which an index serves; the column is never null.
        order = [key.desc() if listing.descending else key.asc() for key in keys]
    rows = connection.execute(
        select(*store_runs.COLUMNS).where(*conditions).order_by(*order).offset(first).limit(listing.page_size)
    )
    return rows.mappings().all(), total, as_of


def steps(connection: Connection, run_id: str) -> Sequence[RowMapping]:
    """The executions of a run's steps in the order in which they started (API-20)."""
    query = select(*_STEP_COLUMNS).where(_S.run_id == run_id).order_by(_S.started_at.asc().nulls_last(), _S.id)
    return connection.execute(query).mappings().all()


def _conditions(listing: Listing) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if listing.status is not None:
        conditions.append(_R.status == listing.status)
    if listing.workflow_id is not None:
        same: ColumnElement[bool] = _R.workflow_id == listing.workflow_id
        if listing.definition_id is not None:
            same = or_(same, _R.workflow_definition_id == listing.definition_id)
        conditions.append(same)
    if listing.created_after is not None:
        conditions.append(_R.created_at >= listing.created_after)
    if listing.created_before is not None:
        conditions.append(_R.created_at < listing.created_before)
    return conditions
