"""Datasets and training pipelines: what the API calls, and the processes that train."""
