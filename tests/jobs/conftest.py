from tests.jobs.fixtures import engine, lab

__all__ = ["engine", "lab"]
