"""Pictures for tests."""

from __future__ import annotations

from dunlin import _png


def picture(shade: int = 0, side: int = 8) -> bytes:
    """A small PNG; each `shade` (0 to 16,777,215) has other bytes."""
    return _png.encode(shade.to_bytes(3, "big") * (side * side), side, side, 3)
