"""Bytes at a URI, and the files of a model."""
