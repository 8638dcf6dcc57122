"""Who drives what: leases on the rows of a table, and the fences that make them safe.

A table whose rows are driven has the columns ``owner``, ``lease_until`` and ``fence``. Each claim
raises the fence; a driver's writes name theirs and are refused once another has claimed the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from rowcast.errors import Aborted
from rowcast.stores import Lease

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Leases:
    """The leases on the rows of one table.

    Parameters
    ----------
    table
        With the columns of the module's text, and ``id``, ``state``, ``created_us``, ``document``.
    what
        Name of a row in messages.
    finished
        States in which there is nothing left to drive.
    """

    def __init__(self, table: sa.Table, what: str, finished: Iterable[str]) -> None:
        self._table = table
        self._what = what
        self.unfinished = table.c.state.not_in(sorted(finished))

    def claim(
        self,
        connection: sa.Connection,
        owner: str,
        now: float,
        lease_until: float,
        among: Sequence[sa.ColumnElement[bool]],
    ) -> Lease | None:
        """Take the oldest unfinished row that nobody holds."""
        table = self._table
        free = sa.or_(table.c.owner.is_(None), table.c.lease_until < now)
        query = (
            sa.select(table.c.id, table.c.fence)
            .where(self.unfinished, free, *among)
            .order_by(table.c.created_us, table.c.id)
            .limit(1)
        )
        row = connection.execute(query.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        connection.execute(
            sa.update(table)
            .where(table.c.id == row.id)
            .values(owner=owner, lease_until=lease_until, fence=row.fence + 1)
        )
        return Lease(row.id, row.fence + 1)

    def renew(self, connection: sa.Connection, lease: Lease, lease_until: float) -> bool:
        """Whether the lease was still held, and is now held longer."""
        kept = connection.execute(
            sa.update(self._table)
            .where(self._table.c.id == lease.job_id, self._table.c.fence == lease.fence)
            .values(lease_until=lease_until)
        )
        return bool(kept.rowcount)

    def owners(self, connection: sa.Connection) -> set[str]:
        """Every process that holds a lease on an unfinished row."""
        owner = self._table.c.owner
        query = sa.select(owner).where(self.unfinished, owner.is_not(None)).distinct()
        return set(connection.execute(query).scalars())

    def release(self, connection: sa.Connection, owner: str) -> None:
        """Free all rows of a process."""
        connection.execute(
            sa.update(self._table)
            .where(self._table.c.owner == owner)
            .values(owner=None, lease_until=0.0)
        )

    def driven(self, connection: sa.Connection, id_: str, now: float) -> bool:
        """Whether a process holds the row."""
        table = self._table
        row = connection.execute(
            sa.select(table.c.owner, table.c.lease_until).where(table.c.id == id_)
        ).one()
        return row.owner is not None and row.lease_until >= now

    def document(self, connection: sa.Connection, lease: Lease) -> Any:
        """The document of the row that a lease is for. Raises Aborted if the lease is lost."""
        table = self._table
        row = connection.execute(
            sa.select(table.c.document, table.c.fence)
            .where(table.c.id == lease.job_id)
            .with_for_update()
        ).first()
        if row is None or row.fence != lease.fence:
            raise Aborted(f"{self._what} {lease.job_id} has been taken over by another process.")
        return row.document
