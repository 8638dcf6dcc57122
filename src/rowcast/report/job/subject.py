"""What a job's report is about."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rowcast.core.names import DRIFT, SUMMARY, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Self


@dataclass(frozen=True)
class JobSubject:
    """A job as the REST API shows it, and what it says of its results."""

    resource: dict[str, Any]
    summary: dict[str, Any] = field(default_factory=dict)
    """Content of ``_rowcast_summary.json``; empty if there is none."""
    drift: dict[str, Any] = field(default_factory=dict)
    """Content of ``_rowcast_drift.json``; empty if there is none."""

    @classmethod
    def of(cls, resource: dict[str, Any], reports: Mapping[str, bytes]) -> Self:
        """Read the reports of a job."""
        return cls(resource, *(json.loads(reports.get(name, b"{}")) for name in (SUMMARY, DRIFT)))

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.resource["name"]).rsplit("/", 1)[-1]

    @property
    def title(self) -> str:
        """Its display name."""
        return str(self.resource.get("displayName") or self.id)

    @property
    def state(self) -> str:
        """Without the API's prefix."""
        return str(self.resource.get("state", "")).removeprefix("JOB_STATE_")

    @property
    def rows(self) -> tuple[int, int, int]:
        """Rows scored, failed, and not attempted."""
        stats = self.resource.get("completionStats") or {}
        good, bad, rest = (
            int(stats.get(f"{name}Count", 0)) for name in ("successful", "failed", "incomplete")
        )
        return good, bad, max(0, rest)

    @property
    def added(self) -> dict[str, Any]:
        """What rowcast adds to the resource."""
        return self.resource.get("rowcast") or {}

    @property
    def short(self) -> dict[str, Any]:
        """The short form of the summary."""
        return self.added.get("summary") or {}

    @property
    def classes(self) -> list[dict[str, Any]]:
        """Each class with its rows; empty for regression."""
        return self.summary.get("classes") or []

    def moment(self, name: str) -> datetime | None:
        """A time of the job."""
        text = self.resource.get(name)
        return parse_rfc3339(text) if text else None

    @property
    def seconds(self) -> float | None:
        """From its start to its end."""
        started, ended = self.moment("startTime"), self.moment("endTime")
        return (ended - started).total_seconds() if started and ended else None
