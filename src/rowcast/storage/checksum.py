"""CRC-32C (Castagnoli, as in RFC 3720), by which clients of Cloud Storage check what arrived."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

POLYNOMIAL = 0x82F63B78


def crc32c(pieces: Iterable[bytes]) -> bytes:
    """Sum up bytes that come in pieces; four bytes, the highest first."""
    state = np.uint32(0xFFFFFFFF)
    for piece in pieces:
        state = advance(state, np.frombuffer(piece, np.uint8), _table())
    return int(state ^ np.uint32(0xFFFFFFFF)).to_bytes(4, "big")


@cache
def _table() -> np.ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(POLYNOMIAL), values >> 1)
    return values.astype(np.uint32)


@kernel
def advance(state: np.uint32, data: np.ndarray, table: np.ndarray) -> np.uint32:
    """Take in a byte after the other."""
    for i in range(data.size):
        state = table[(state ^ data[i]) & 0xFF] ^ (state >> np.uint32(8))
    return state
