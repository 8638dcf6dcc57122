"""Batch prediction jobs: created by the service, planned and run in parts, then published.

The path of a job: ``service`` (checks, PENDING) -> ``manager`` (claims it) -> ``runner``
(RUNNING) -> ``plan`` and ``part`` (in replicas) -> ``runner`` (publishes, SUCCEEDED).
"""
