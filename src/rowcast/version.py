"""The version of this release; a leaf, so that anything may import it."""

__version__ = "0.1.0"
