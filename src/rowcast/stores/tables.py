"""The tables of the database, and how older databases get the newest ones.

``VERSION`` counts the shapes that the tables have had. A database says which one it has; a step
leads from each version to the next. Columns are only ever added, so a step is short.
"""

from __future__ import annotations

import sqlalchemy as sa

from rowcast.errors import FailedPrecondition

METADATA = sa.MetaData()

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("location", sa.String, nullable=False),
    sa.Column("request_id", sa.String),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("display_name", sa.String, nullable=False),
    sa.Column("model_display_name", sa.String, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("layout", sa.Text),
    sa.Column("reserved", sa.Boolean, nullable=False, default=False),
    sa.Column("owner", sa.String),
    sa.Column("lease_until", sa.Double, nullable=False, default=0.0),
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.UniqueConstraint("project", "location", "request_id"),
    sa.Index("jobs_newest", "project", "location", "created_us", "id"),
    sa.Index("jobs_waiting", "state", "created_us"),
)
LABELS = sa.Table(
    "job_labels",
    METADATA,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)
PARTS = sa.Table(
    "parts",
    METADATA,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("source", sa.Integer, nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("stop", sa.BigInteger, nullable=False),
    sa.Column("first_row", sa.BigInteger, nullable=False),
    sa.Column("first_line", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("result", sa.Text),
)
JOB_REPORTS = sa.Table(
    "job_reports",
    METADATA,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
MODELS = sa.Table(
    "models",
    METADATA,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("location", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("version_id", sa.String, primary_key=True),
    sa.Column("display_name", sa.String, nullable=False),
    sa.Column("folder", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("aliases", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("version_description", sa.Text, nullable=False, server_default=""),
    sa.Column("pipeline", sa.String),
    sa.Column("model_created_us", sa.BigInteger),
    sa.Column("updated_us", sa.BigInteger),
)
MODEL_COUNTERS = sa.Table(
    "model_counters",
    METADATA,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("location", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("last_version", sa.Integer, nullable=False),
)
DATASETS = sa.Table(
    "datasets",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("location", sa.String, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index("datasets_newest", "project", "location", "created_us", "id"),
)
PIPELINES = sa.Table(
    "pipelines",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("location", sa.String, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("owner", sa.String),
    sa.Column("lease_until", sa.Double, nullable=False, default=0.0),
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.Index("pipelines_newest", "project", "location", "created_us", "id"),
    sa.Index("pipelines_waiting", "state", "created_us"),
)
OPERATIONS = sa.Table(
    "operations",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("location", sa.String, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)
TOKENS = sa.Table(
    "tokens",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("member", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False, unique=True),
    sa.Column("label", sa.String, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("expires_us", sa.BigInteger),
    sa.Column("revoked_us", sa.BigInteger),
    sa.Column("used_us", sa.BigInteger),
)
SCHEMA = sa.Table(
    "rowcast_schema",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

VERSION = 3
"""1: jobs, models and operations, without a record of the version. 2: descriptions, pipelines
and times of models; datasets and pipelines. 3: reports of jobs."""


def prepare(connection: sa.Connection) -> None:
    """Make the tables that are missing, and bring older ones up to date.

    Raises
    ------
    FailedPrecondition
        If a newer release has worked on the database: this one would not see all of it.
    """
    found = _version(connection)
    if found > VERSION:
        raise FailedPrecondition(
            f"The job database has version {found}, made by a newer release of rowcast; this one "
            f"knows versions up to {VERSION}. Use the newer release, or another home folder."
        )
    METADATA.create_all(connection)  # leaves the tables that are there as they are
    for step in range(found, VERSION) if found else ():
        for statement in _STEPS[step]:
            connection.execute(sa.text(statement))
    if found < VERSION:
        connection.execute(sa.delete(SCHEMA))
        connection.execute(sa.insert(SCHEMA).values(id=1, version=VERSION))


def _version(connection: sa.Connection) -> int:
    """The version of a database's tables; 0 if there are none yet."""
    there = set(sa.inspect(connection).get_table_names())
    if SCHEMA.name in there:
        return connection.execute(sa.select(SCHEMA.c.version)).scalar() or 1
    return 1 if JOBS.name in there else 0


_STEPS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE models ADD COLUMN description TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE models ADD COLUMN version_description TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE models ADD COLUMN pipeline VARCHAR",
        "ALTER TABLE models ADD COLUMN model_created_us BIGINT",
        "ALTER TABLE models ADD COLUMN updated_us BIGINT",
        "UPDATE models SET updated_us = created_us, model_created_us = ("
        "SELECT MIN(first.created_us) FROM models AS first WHERE first.project = models.project "
        "AND first.location = models.location AND first.id = models.id)",
    ),
    2: (),
}
"""What leads from a version to the next, beside new tables."""
