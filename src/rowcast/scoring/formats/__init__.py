"""Readers of what the libraries write: bytes to a ``Forest``, one module per library.

None of the libraries is needed. A reader takes nothing on trust: bytes that make no forest, or a
forest of a kind that is not read, raise ``ModelDamaged``.
"""
