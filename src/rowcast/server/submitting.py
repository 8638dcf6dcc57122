"""Creating a job from a request that was read: what the REST door and the command line share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rowcast.core.caller import OWNER, Caller
from rowcast.errors import InvalidRequest, RowcastError
from rowcast.server import wire
from rowcast.server.reading import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.core.job import JobSpec
    from rowcast.core.names import Parent
    from rowcast.errors import Violation
    from rowcast.server.services import JobService


def submit(
    jobs: JobService, parent: Parent, asked: wire.JobRequest, by: Caller = OWNER
) -> dict[str, Any]:
    """Create the job that was asked for, or only check it; show the answer.

    Raises
    ------
    InvalidRequest
        With every violation, of the wire and of the service.
    """
    if asked.violations or asked.settled:
        refuse(asked.with_semantic(_semantic(parent, asked.spec, jobs)))
    if asked.validate_only:
        report = jobs.preflight(parent, asked.spec, by=by)
        return wire.render_checked(parent, asked.spec, report)
    return wire.render_job(jobs.create(parent, asked.spec, asked.request_id, by=by))


def _semantic(at: Parent, spec: JobSpec, jobs: JobService) -> Sequence[Violation]:
    """List what the service finds in a request that is refused in any case."""
    try:
        return jobs.violations(at, spec)
    except InvalidRequest as error:
        return error.violations
    except RowcastError:
        return ()
