"""Arrays of pixels as PNG, with the standard library alone."""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# PNG's color types by channels: grey, grey and alpha, RGB, RGBA.
_COLOR = {1: 0, 2: 4, 3: 2, 4: 6}
# Fast: the bytes are read again once, a few milliseconds later.
_LEVEL = 1


def encode(pixels: bytes, height: int, width: int, channels: int) -> bytes:
    """A PNG of 8-bit samples in rows from the top, without padding."""
    if channels not in _COLOR:
        raise ValueError(f"an image has 1 to 4 channels, not {channels}")
    stride = width * channels
    if height < 1 or width < 1 or len(pixels) != height * stride:
        raise ValueError(f"{len(pixels)} bytes are not {height} rows of {width} pixels of {channels} channels")
    # Each row begins with its filter: 0, none.
    rows = b"".join(b"\0" + pixels[at : at + stride] for at in range(0, len(pixels), stride))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR[channels], 0, 0, 0)
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows, _LEVEL)), _chunk(b"IEND", b""))
    return _SIGNATURE + b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
