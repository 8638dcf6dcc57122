import pytest

from rowcast.sources import Limits, SourceOptions, open_source
from rowcast.storage.objects import Objects, Roots


class Bucket:
    """A bucket to put objects in, and sources that read them."""

    def __init__(self, folder):
        self.folder = folder / "gs" / "bucket"
        self.folder.mkdir(parents=True)
        self.objects = Objects(Roots(folder / "gs", folder / "s3"))

    def put(self, name, content):
        (self.folder / name).write_bytes(content)
        return f"gs://bucket/{name}"

    def source(self, format_, *, feature_names=(), dropped_columns=(), **limits):
        return open_source(
            format_,
            SourceOptions(
                self.objects,
                "gs://bucket/spool/job",
                Limits(**limits),
                feature_names,
                dropped_columns,
            ),
        )

    def listed(self, pattern):
        return self.objects.list(f"gs://bucket/{pattern}")

    def plan(self, format_, pattern, *, part_bytes=1 << 20, **options):
        source = self.source(format_, **options)
        return source, source.survey(self.listed(pattern), part_bytes)

    def batches(self, format_, pattern, *, part_bytes=1 << 20, batch_rows=1000, **options):
        source, plan = self.plan(format_, pattern, part_bytes=part_bytes, **options)
        return [b for part in plan.parts for b in source.read(plan.layout, part, batch_rows)]

    def rows(self, format_, pattern, **options):
        return [row for b in self.batches(format_, pattern, **options) for row in cells(b)]


def cells(batch):
    """Rows as tuples, so that columns of one name do not hide each other."""
    if not batch.rows.num_columns:
        return [()] * batch.rows.num_rows
    return list(zip(*(column.to_pylist() for column in batch.rows.columns), strict=True))


@pytest.fixture
def bucket(tmp_path):
    return Bucket(tmp_path)
