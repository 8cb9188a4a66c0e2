"""Codes in their narrowest width: every value at an edge comes back, and one beyond is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy.errors import BadData
from nmdeploy.recording.narrow import WIDTHS, element, narrowed, planes_of, stored_width, widened
from nmdeploy.recording.reader import read_codes
from nmdeploy.recording.writer import Column

EDGES = [sign * (1 << power) + off for power in range(64) for sign in (-1, 1) for off in (-1, 0, 1)]
TYPES = (np.int8, np.int16, np.int32, np.int64)


def fits(value: int, width: int) -> bool:
    return -(1 << (width - 1)) <= value < 1 << (width - 1)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("given_type", TYPES)
def test_every_edge_of_a_width(width: int, given_type: type) -> None:
    values = [v for v in EDGES if fits(v, width) and fits(v, 8 * np.dtype(given_type).itemsize)]
    codes = np.array(values, given_type)
    parts = narrowed(codes, width)
    assert len(parts) == planes_of(width) and {part.dtype for part in parts} == {element(width)}
    assert sum(part.itemsize for part in parts) * 8 == width
    back = widened(parts)
    assert back.dtype == np.int64 and back.tolist() == values


@pytest.mark.parametrize("width", WIDTHS[:-1])
def test_a_value_beyond_is_refused(width: int) -> None:
    for value in (1 << (width - 1), -(1 << (width - 1)) - 1, 1 << 62):
        with pytest.raises(BadData, match=f"{value} exceeds the {width} bits"):
            narrowed(np.array([0, value]), width)


@given(st.integers(1, 64))
def test_the_width_is_the_narrowest_one(bits: int) -> None:
    width = stored_width(bits)
    assert width >= bits and all(narrower < bits for narrower in WIDTHS if narrower < width)


@settings(deadline=None)
@given(
    bits=st.integers(2, 64),
    data=st.data(),
    pieces=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    chunk=st.sampled_from([1, 40, 300, 1 << 20]),
    samples=st.integers(1, 3),
    known=st.booleans(),
)
def test_pieces_of_any_length_are_the_whole(
    bits: int,
    data: st.DataObject,
    pieces: list[int],
    chunk: int,
    samples: int,
    known: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    edge = 1 << (bits - 1)
    shape = (samples, sum(pieces), 3, 2)
    picked = data.draw(
        st.lists(st.integers(-edge, edge - 1) | st.sampled_from([-edge, edge - 1, 0, -1]), min_size=1, max_size=30)
    )
    codes = np.resize(np.array(picked, np.int64), shape)
    path = tmp_path_factory.mktemp("x") / "c.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmdeploy.recording.column.CHUNK_BYTES", chunk)
        with h5py.File(path, "w") as file:
            column = Column(file, "codes", shape[1:], codes.dtype, samples if known else None, stored_width(bits))
            for sample in range(samples):
                row = 0
                for length in pieces:
                    column.append_rows(codes[sample : sample + 1, row : row + length])
                    row += length
            column.flush()
    with h5py.File(path) as file:
        back = read_codes(file["codes"], slice(None))
        assert file["codes"].dtype.itemsize * planes_of(stored_width(bits)) * 8 == stored_width(bits)
        assert np.array_equal(read_codes(file["codes"], slice(1), slice(2, 5)), codes[:1, 2:5])
    assert back.dtype == np.int64 and np.array_equal(back, codes)


def test_width_of_each_file(tmp_path: Path) -> None:
    """Files that differ in the width alone differ by it in their bytes before compression."""
    for width in WIDTHS:
        with h5py.File(tmp_path / f"{width}.h5", "w") as file:
            column = Column(file, "codes", (7, 5), np.dtype(np.int64), 2, width)
            assert column.dataset.nbytes * 8 == 2 * 7 * 5 * width
