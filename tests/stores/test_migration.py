"""Databases of earlier releases open, with all that was in them."""

import sqlite3

import pytest
import sqlalchemy as sa

from rowcast.core.job import JobState
from rowcast.core.names import Parent
from rowcast.errors import FailedPrecondition
from rowcast.stores.sql import SqlOperations, SqlStore
from rowcast.stores.tables import VERSION
from tests.databases import KINDS, database_url

PARENT = Parent("local", "us-central1")

# What the first version of the tables wrote, kept as it was.
FIRST = """
CREATE TABLE jobs (
  id VARCHAR NOT NULL, project VARCHAR NOT NULL, location VARCHAR NOT NULL, request_id VARCHAR,
  created_us BIGINT NOT NULL, state VARCHAR NOT NULL, display_name VARCHAR NOT NULL,
  model_display_name VARCHAR NOT NULL, document TEXT NOT NULL, layout TEXT,
  reserved BOOLEAN NOT NULL, owner VARCHAR, lease_until DOUBLE NOT NULL, fence INTEGER NOT NULL,
  PRIMARY KEY (id), UNIQUE (project, location, request_id));
CREATE INDEX jobs_newest ON jobs (project, location, created_us, id);
CREATE INDEX jobs_waiting ON jobs (state, created_us);
CREATE TABLE job_labels (
  job_id VARCHAR NOT NULL, "key" VARCHAR NOT NULL, value VARCHAR NOT NULL,
  PRIMARY KEY (job_id, "key"), FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE);
CREATE TABLE parts (
  job_id VARCHAR NOT NULL, number INTEGER NOT NULL, source INTEGER NOT NULL,
  start BIGINT NOT NULL, stop BIGINT NOT NULL, first_row BIGINT NOT NULL,
  first_line BIGINT NOT NULL, rows BIGINT NOT NULL, result TEXT, PRIMARY KEY (job_id, number),
  FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE);
CREATE TABLE models (
  project VARCHAR NOT NULL, location VARCHAR NOT NULL, id VARCHAR NOT NULL,
  version_id VARCHAR NOT NULL, display_name VARCHAR NOT NULL, folder VARCHAR NOT NULL,
  digest VARCHAR NOT NULL, created_us BIGINT NOT NULL, is_default BOOLEAN NOT NULL,
  aliases JSON NOT NULL, labels JSON NOT NULL,
  PRIMARY KEY (project, location, id, version_id));
CREATE TABLE operations (
  id VARCHAR NOT NULL, project VARCHAR NOT NULL, location VARCHAR NOT NULL,
  created_us BIGINT NOT NULL, body JSON NOT NULL, PRIMARY KEY (id));
INSERT INTO models VALUES
  ('local', 'us-central1', 'churn', '1', 'churn', '/m/churn/1', 'aa', 1000000, 0, '["prod"]',
   '{}'),
  ('local', 'us-central1', 'churn', '2', 'churn', '/m/churn/2', 'bb', 2000000, 1, '[]',
   '{"env": "test"}');
INSERT INTO jobs VALUES
  ('7', 'local', 'us-central1', 'key-1', 3000000, 'JOB_STATE_PENDING', 'nightly', 'churn',
   '{"id":"7","parent":{"project":"local","location":"us-central1"},"spec":{"display_name":'
   || '"nightly","model":"churn","input":{"format":"csv","uris":["gs://b/x"],"instance_type":null,'
   || '"key_field":null,"included_fields":[],"excluded_fields":[]},"output":{"format":"csv",'
   || '"uri_prefix":"gs://b/o"},"replicas":null,"batch_size":null,"generate_explanation":false,'
   || '"explanation_spec":null,"model_parameters":null,"service_account":"","labels":{"a":"b"},'
   || '"kms_key_name":"","disable_container_logging":false,"model_monitoring_config":null,'
   || '"extension":{"row_number_column":null,"output_name":null,"retry_of":null}},"model":'
   || '{"model_id":"churn","version_id":"2","display_name":"churn","folder":"/m/churn/2",'
   || '"digest":"bb"},"state":"JOB_STATE_PENDING","created":"1970-01-01T00:00:03Z",'
   || '"updated":"1970-01-01T00:00:03Z","started":null,"ended":null,"error":null,'
   || '"partial_failures":[],"stats":null,"output_directory":null,"replica_hours":0.0,'
   || '"cancel_requested":false,"causes":{}}',
   NULL, 0, NULL, 0.0, 0);
INSERT INTO job_labels VALUES ('7', 'a', 'b');
INSERT INTO operations VALUES ('9', 'local', 'us-central1', 4000000, '{"name": "o/9"}');
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rowcast.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(FIRST)
    connection.close()
    return path


@pytest.fixture(params=KINDS)
def opened(file, tmp_path, request):
    url = f"sqlite:///{file}"
    if request.param == "postgres":
        url = database_url(tmp_path, "postgres")
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql(in_postgres(FIRST))
        engine.dispose()
    store = SqlStore(url)
    yield store
    store.close()


def in_postgres(text):
    """The same tables and rows as Postgres wants them written."""
    return (
        text.replace("DOUBLE", "DOUBLE PRECISION")
        .replace("1000000, 0, '[", "1000000, false, '[")
        .replace("2000000, 1, '[", "2000000, true, '[")
        .replace("NULL, 0, NULL, 0.0, 0)", "NULL, false, NULL, 0.0, 0)")
    )


def test_what_was_kept_is_there_and_can_be_changed(opened):
    first, second = (opened.get_model(PARENT, "churn", version) for version in "12")
    assert (first.aliases, second.aliases) == (("prod",), ("default",))
    assert second.labels == {"env": "test"}
    assert first.model_created == second.model_created == first.created
    assert (first.description, first.pipeline, first.updated) == ("", None, first.created)
    changed = opened.update_model(second, updated=second.created, description="new")
    assert changed.description == "new"
    assert opened.next_version(PARENT, "churn") == "3"
    assert opened.get_job(PARENT, "7").spec.labels == {"a": "b"}
    assert SqlOperations(opened).get(PARENT, "9") == {"name": "o/9"}
    lease = opened.claim_job("me", 10**10)
    assert opened.update_job(lease, state=JobState.RUNNING).id == "7"


def test_an_old_database_has_the_tables_of_a_new_one(file, tmp_path):
    SqlStore(f"sqlite:///{file}").close()
    new = SqlStore(f"sqlite:///{tmp_path}/new.db")
    new.close()

    def columns(path):
        connection = sqlite3.connect(path)
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        found = {
            (table, row[1]) for table in names
            for row in connection.execute(f"PRAGMA table_info({table})")
        }  # fmt: skip
        version = connection.execute("SELECT version FROM rowcast_schema").fetchall()
        connection.close()
        return found, version

    assert columns(file) == columns(tmp_path / "new.db")
    assert columns(file)[1] == [(VERSION,)]


def test_a_database_is_brought_up_to_date_once(file):
    for _ in range(3):
        store = SqlStore(f"sqlite:///{file}")
        assert len(store.model_versions(PARENT, "churn")) == 2
        store.close()


def test_a_database_of_a_newer_release_is_refused_untouched(file):
    SqlStore(f"sqlite:///{file}").close()
    connection = sqlite3.connect(file)
    connection.execute(f"UPDATE rowcast_schema SET version = {VERSION + 1}")
    connection.commit()
    with pytest.raises(FailedPrecondition, match="newer release"):
        SqlStore(f"sqlite:///{file}")
    assert connection.execute("SELECT version FROM rowcast_schema").fetchone() == (VERSION + 1,)
    connection.close()
