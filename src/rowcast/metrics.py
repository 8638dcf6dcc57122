"""What a process counts of its work, for Prometheus to read.

Counters begin at zero with the process, as Prometheus expects; a part that is scored again after
a crash is counted again. What jobs are made of is in their resources and manifests, not here.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST

_REGISTRY = CollectorRegistry()
ProcessCollector(registry=_REGISTRY)
PlatformCollector(registry=_REGISTRY)

ROWS = Counter(
    "rowcast_rows", "Rows of finished parts, by outcome.", ["outcome"], registry=_REGISTRY
)
PART_SECONDS = Histogram(
    "rowcast_part_seconds",
    "Seconds that replicas took for a part.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
    registry=_REGISTRY,
)
PARTS_WAITING = Gauge(
    "rowcast_parts_waiting", "Parts of running jobs that no replica has yet.", registry=_REGISTRY
)
REPLICAS = Gauge("rowcast_replicas", "Replicas, by what they do.", ["state"], registry=_REGISTRY)
REPLICAS_LOST = Counter(
    "rowcast_replicas_lost",
    "Replicas that died, hung, or were stopped in the middle of a part.",
    registry=_REGISTRY,
)
JOBS_RUNNING = Gauge("rowcast_jobs_running", "Jobs that are driven here.", registry=_REGISTRY)
JOBS_ENDED = Counter(
    "rowcast_jobs_ended", "Jobs that ended here, by state.", ["state"], registry=_REGISTRY
)
REQUEST_SECONDS = Histogram(
    "rowcast_request_seconds",
    "Seconds from request to answer, by method and status.",
    ["method", "status"],
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    registry=_REGISTRY,
)


def exposition() -> bytes:
    """Everything that was counted, in Prometheus' text format."""
    return generate_latest(_REGISTRY)
