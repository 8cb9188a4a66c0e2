"""Samples from .npz files: what is taken and how, and damage of any bit."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmdeploy.errors import BadData, BadFile
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Input
from nmdeploy.samples.source import Data, load_data, open_data

SPIKES = Input((2,))
GRADED = Input((2,), FixedPoint(bits=5, frac=4, signed=False))
SIGNED = Input((2,), FixedPoint(bits=4, frac=2))


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


KINDS = (bool, np.uint8, np.int8, np.int32, np.uint64, ">i2", np.float16, np.float32, np.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("expected", "one"), [(SPIKES, 1), (GRADED, 16), (SIGNED, 4)])
def test_inputs_are_values_whatever_their_type(tmp_path: Path, kind: Any, expected: Input, one: int) -> None:
    """True, 1 and 1.0 are the same."""
    data = load_data(saved(tmp_path / "a.npz", inputs=np.array([[[0, 1], [1, 1]]], kind)), expected)
    assert data.codes.tolist() == [[[0, one], [one, one]]]
    assert data.codes.dtype == (kind if one == 1 and np.dtype(kind).itemsize == 1 else f"{data.codes.dtype.kind}1")


def test_codes_are_integers_of_the_input_format(tmp_path: Path) -> None:
    for kind in (np.uint8, np.int8, np.int32, np.uint64, ">i2"):
        codes = np.array([[[0, 31], [1, 16]]], kind)
        data = load_data(saved(tmp_path / "a.npz", codes=codes), GRADED)
        assert data.codes.tolist() == codes.tolist() and data.values is None
        assert data.as_values(GRADED.format).tolist() == [[[0, 31 / 16], [1 / 16, 1]]]
    with pytest.raises(BadData, match=r"'codes' holds values of type float64: give integers"):
        load_data(saved(tmp_path / "a.npz", codes=np.zeros((1, 2, 2))), GRADED)
    with pytest.raises(BadData, match=r"'codes' holds 32 .* codes are 0 to 31: correct them, or save values as"):
        load_data(saved(tmp_path / "a.npz", codes=np.full((1, 2, 2), 32)), GRADED)
    with pytest.raises(BadData, match=r"holds 'inputs' and 'codes': keep"):
        load_data(saved(tmp_path / "a.npz", codes=np.ones((1, 2, 2), int), inputs=np.ones((1, 2, 2))), GRADED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expected", [SPIKES, GRADED])
def test_values_are_as_given(tmp_path: Path, kind: Any, expected: Input) -> None:
    """Not rounded: float figures are those of the inputs that a user has."""
    given = np.random.default_rng(0).random((40, 3, 2)).astype(kind)
    source = open_data(saved(tmp_path / "a.npz", inputs=given), expected)
    for data in (source.first(None), source.first(7), *source.chunks(9)):
        assert data.values is not None and data.values.shape == data.codes.shape
    held = source.first(None).values
    assert held is not None and np.array_equal(held, given) and np.array_equal(source.first(7).values, given[:7])  # type: ignore[arg-type]
    assert np.array_equal(np.concatenate([data.values for data in source.chunks(9)]), given)  # type: ignore[misc]
    assert source.first(None).as_values(expected.format) is not None and source.first(9).first(4).values is not None


def test_integers_that_may_be_codes(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"'inputs' holds 16 .* rescale .*, or save integers .* as 'codes'"):
        load_data(saved(tmp_path / "a.npz", inputs=np.full((1, 2, 2), 16)), GRADED)


@pytest.mark.parametrize(
    ("bits", "signed", "kind", "narrow"),
    [
        (8, False, np.float32, "u1"),
        (8, True, np.float64, "i1"),
        (9, False, np.int64, "u2"),
        (9, True, ">i4", "i2"),
        (9, True, ">i2", "i2"),
        (9, True, np.int8, "i1"),
        (32, True, np.int64, "i4"),
        (32, False, np.float64, "u4"),
        (32, False, bool, "?"),
    ],
)
def test_codes_are_of_the_narrowest_type(tmp_path: Path, bits: int, signed: bool, kind: Any, narrow: str) -> None:
    expected = Input((2,), FixedPoint(bits=bits, signed=signed))
    codes = load_data(saved(tmp_path / "a.npz", inputs=np.ones((1, 3, 2), kind)), expected).codes
    assert codes.dtype == np.dtype(narrow) and codes.dtype.isnative and (codes == 1).all()


@pytest.mark.parametrize(
    ("expected", "values", "codes"),
    [
        (GRADED, [0.0, 1.9375], [0, 31]),
        (GRADED, [0.5, 1 / 16], [8, 1]),
        (GRADED, [0.09375, 0.03125], [2, 0]),  # ties to even
        (SIGNED, [-2.0, 1.75], [-8, 7]),
        (SPIKES, [0.0, 1.0], [0, 1]),
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_are_quantized(
    tmp_path: Path, expected: Input, values: list[float], codes: list[int], kind: type
) -> None:
    path = saved(tmp_path / "a.npz", inputs=np.array([[values]], kind))
    assert load_data(path, expected).codes.tolist() == [[codes]]


def test_channels_may_have_the_input_shape_or_be_flat(tmp_path: Path) -> None:
    expected = Input((2, 3))
    inputs = np.arange(24).reshape(2, 2, 2, 3) % 2
    whole = load_data(saved(tmp_path / "a.npz", inputs=inputs), expected)
    flat = load_data(saved(tmp_path / "b.npz", inputs=inputs.reshape(2, 2, 6)), expected)
    assert whole.codes.shape == (2, 2, 6)
    assert np.array_equal(whole.codes, flat.codes)


def test_labels_and_lengths(tmp_path: Path) -> None:
    inputs = np.zeros((3, 4, 2), int)
    plain = load_data(saved(tmp_path / "a.npz", inputs=inputs), SPIKES)
    assert plain.labels is None
    assert plain.lengths.tolist() == [4, 4, 4]
    path = saved(tmp_path / "b.npz", inputs=inputs, labels=[0, 9, 1], lengths=np.array([1, 4, 2], np.uint8))
    data = load_data(path, SPIKES, classes=10)
    assert data.labels is not None
    assert (data.labels.tolist(), data.lengths.tolist()) == ([0, 9, 1], [1, 4, 2])
    with pytest.raises(BadData, match=r"'labels' holds 0 to 9, allowed is 0 to 8"):
        load_data(path, SPIKES, classes=9)


def test_first(tmp_path: Path) -> None:
    data = load_data(saved(tmp_path / "a.npz", inputs=np.zeros((3, 4, 2), int), labels=[0, 1, 2]), SPIKES)
    part = data.first(2)
    assert part.samples == 2
    assert part.labels is not None and part.labels.tolist() == [0, 1]
    assert data.first(None).samples == data.first(99).samples == 3


def same(a: Data, b: Data) -> bool:
    pairs = ((a.codes, b.codes), (a.labels, b.labels), (a.lengths, b.lengths))
    return all(np.array_equal(x, y) for x, y in pairs)  # type: ignore[arg-type]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, save: Any) -> None:
    """Time stamps and attributes of a zip's members are under no checksum; names and arrays are."""
    path = tmp_path / "a.npz"
    rng = np.random.default_rng(0)
    save(path, inputs=rng.integers(0, 2, (3, 4, 2)), labels=rng.integers(0, 9, 3), lengths=rng.integers(1, 5, 3))
    content, good = path.read_bytes(), load_data(path, SPIKES, classes=9)
    for bit in range(0, 8 * len(content), 11):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert same(load_data(path, SPIKES, classes=9), good), f"bit {bit}"
        except (BadFile, BadData) as error:
            assert str(path) in str(error) and "\n" not in str(error)


def test_truncated_anywhere(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", inputs=np.zeros((3, 4, 2), int))
    content = path.read_bytes()
    for length in range(0, len(content), 11):
        path.write_bytes(content[:length])
        with pytest.raises(BadFile, match=r"damaged or not an \.npz file|holds an object array or a pickle"):
            load_data(path, SPIKES)


def test_a_header_that_claims_the_world(tmp_path: Path) -> None:
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776, 1024, 2), }"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("inputs.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(BadFile, match="damaged"):
        load_data(tmp_path / "a.npz", SPIKES)


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_the_first_bad_value_is_named_wherever_blocks_begin(tmp_path: Path, kind: Any) -> None:
    inputs = np.zeros((7, 4, 2), kind)
    inputs[5, 2, 1] = inputs[6, 0, 0] = 40
    source = open_data(saved(tmp_path / "a.npz", inputs=inputs), GRADED)
    for size in (1, 2, 3, 7):
        with pytest.raises(BadData, match=r"holds 40(\.0)? in sample 5, step 2, channel 1;"):
            list(source.chunks(size))


def test_limited(tmp_path: Path) -> None:
    inputs, labels = np.arange(56).reshape(7, 4, 2) % 2, np.arange(7)
    source = open_data(saved(tmp_path / "a.npz", inputs=inputs, labels=labels), SPIKES)
    whole = source.first(None)
    for samples in (1, 3, 6, 7, 99):
        part = source.limited(samples)
        assert part.samples == min(samples, 7)
        assert same(part.first(None), whole.first(samples)) and same(part.first(2), whole.first(min(samples, 2)))
        for size in (1, 2, 7):
            assert np.array_equal(np.concatenate([c.codes for c in part.chunks(size)]), whole.codes[:samples])
    assert source.limited(None) is source


@pytest.mark.parametrize("value", [1, 9])
def test_damage_behind_the_first_samples_is_found(tmp_path: Path, value: int) -> None:
    """The checksum of an .npz lies behind the last sample, whether a value is out of range or only wrong."""
    codes = np.zeros((50, 4, 3), np.uint8)
    np.savez(tmp_path / "d.npz", inputs=codes)
    content = bytearray((tmp_path / "d.npz").read_bytes())
    place = content.index(b"\x93NUMPY") + 128 + 5
    content[place] = value
    (tmp_path / "d.npz").write_bytes(content)
    for samples in (1, 10, 49, 50):
        with pytest.raises(BadFile, match="damaged"):
            list(open_data(tmp_path / "d.npz", Input((3,))).limited(samples).chunks(7))


OUTSIDE = {
    "counts": (SPIKES, np.array([[[0, 3], [1, 0]]]), r"clip the inputs with (numpy\.clip\(inputs, 0, 1\))$"),
    "counts as floats": (SPIKES, np.array([[[0.0, 3.0], [1.0, 0.0]]]), r"clip the inputs with (numpy\.clip.*)$"),
    "counts below 0": (Input((2,), FixedPoint(3)), np.array([[[-9, 3]]]), r"clip the inputs with (numpy\.clip.*)$"),
    "no counts": (SPIKES, np.array([[[0.25, 3.5]]]), r"rescale the inputs, or clip them with (numpy\.clip.*)$"),
    "values": (GRADED, np.array([[[0.25, 2.5]]]), r"rescale the inputs, or clip them with (numpy\.clip.*)$"),
    "below 0": (GRADED, np.array([[[-0.25, 1.5]]]), r"clip them with (numpy\.clip\(inputs, 0, 1\.9375\))$"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_remedy_for_values_beyond_the_format_works(name: str) -> None:
    expected, inputs, message = OUTSIDE[name]
    with pytest.raises(BadData, match=message) as found:
        load_data(inputs, expected)
    remedy = re.search(message, str(found.value))
    assert remedy is not None
    clipped = eval(remedy[1], {"numpy": np, "inputs": inputs})
    assert np.array_equal(load_data(clipped, expected).as_values(expected.format), clipped)
    if "rescale" in message and inputs.min() >= 0:
        load_data(inputs * (expected.format.max * expected.format.step / inputs.max()), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_fit_if_the_format_holds_them(kind: Any) -> None:
    counts = np.array([[[0, 1], [1, 0]]] if kind is bool else [[[0, 3], [7, 1]]], kind)
    data = load_data(counts, Input((2,), FixedPoint(3, signed=False)))
    assert data.codes.tolist() == counts.astype(int).tolist()
