"""Check for HDF5 files whose global heap has an entry of size 0, on which the HDF5 library never returns.

Texts of variable length lie in global heaps. A heap has ``GCOL``, version and its size (8 bytes at 8), then objects
with a header of 16 bytes (index, references, size) and content padded to 8 bytes. Index 0 is the free rest, and its
size includes the header. libhdf5 2.0.0 walks the objects by these sizes, so a free rest of size 0 stops it for ever.
Source: HDF5 file format specification 3.0, section III.E. The defect was found by flipping the bits of a file.
"""

from __future__ import annotations

import mmap

from nmdeploy._util.system import forget_pages

MARK = b"GCOL\x01\0\0\0"
HEADER = 16
WINDOW = 1 << 24


def has_endless_heap(content: bytes | mmap.mmap) -> bool:
    """Return True if libhdf5 would walk a global heap of this file for ever."""
    for first in range(0, len(content), WINDOW):
        end = first + WINDOW + len(MARK) - 1
        start = content.find(MARK, first, end)
        while start >= 0:
            if _is_endless(content, start):
                return True
            start = content.find(MARK, start + 1, end)
        forget_pages(content, first, WINDOW)
    return False


def _is_endless(content: bytes | mmap.mmap, start: int) -> bool:
    end = min(start + _number(content, start + 8), len(content))
    place = start + HEADER
    while place + HEADER <= end:
        index, size = content[place : place + 2], _number(content, place + 8)
        if index == b"\0\0" and size == 0:
            return True
        place += size if index == b"\0\0" else HEADER + (size + 7) // 8 * 8
    return False


def _number(content: bytes | mmap.mmap, place: int) -> int:
    return int.from_bytes(content[place : place + 8], "little")
