"""AutoML systems side by side on real tables: ``python -m bench.automl``."""
