"""The tree of an HDF5 file: every type and layout as h5py reads it, and what no NIR file holds refused."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import h5py
import numpy as np
import pytest

from nmdeploy.errors import BadFile
from nmdeploy.nir_io.file import read_tree


def written(fill: Callable[[Any], object], **options: Any) -> bytes:
    """The bytes of an HDF5 file that `fill` fills."""
    target = BytesIO()
    with h5py.File(target, "w", **options) as file:
        fill(file)
    return target.getvalue()


NUMBERS = {
    "little": np.array([1.5, -0.0], "<f4"),
    "big": np.array([1.5, -0.0], ">f4"),
    "half": np.array([0.5], "<f2"),
    "long": np.array([[1 << 62, -1]], ">i8"),
    "byte": np.array(7, "u1"),
    "flags": np.array([True, False]),
    "none": np.zeros((0, 3), "<f8"),
}


def test_numbers_are_as_h5py_reads_them() -> None:
    def fill(file: Any) -> None:
        for name, values in (NUMBERS | {f"{name}_again": values for name, values in NUMBERS.items()}).items():
            file[name] = values
        file.create_dataset("packed", data=np.arange(100.0), compression="gzip")

    content = written(fill)
    tree = read_tree("x", content)
    with h5py.File(BytesIO(content)) as file:
        for name, found in tree.items():
            expected = np.asarray(file[name][()])
            assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
    assert len(tree) == 2 * len(NUMBERS) + 1


def test_texts_of_every_kind() -> None:
    def fill(file: Any) -> None:
        file["one"] = "größer"
        file["pairs"] = np.array([["a", "b"], ["", "größer"]], h5py.string_dtype())
        file.create_dataset("ascii", data=b"abc", dtype=h5py.string_dtype("ascii", 5))
        file.create_dataset("fixed", data="größer".encode(), dtype=h5py.string_dtype("utf-8", 9))
        file.create_dataset("empty", shape=(0,), dtype=h5py.string_dtype())

    assert read_tree("x", written(fill)) == {
        "one": "größer",
        "pairs": [["a", "b"], ["", "größer"]],
        "ascii": "abc",
        "fixed": "größer",
        "empty": [],
    }


@pytest.mark.parametrize(("track_order", "names"), [(False, ["a", "b", "c"]), (True, ["c", "a", "b"])])
def test_groups_keep_the_order_that_the_file_keeps(track_order: bool, names: list[str]) -> None:
    def fill(file: Any) -> None:
        group = file.create_group("g", track_order=track_order)
        for name in ("c", "a", "b"):
            group[name] = 1

    assert list(read_tree("x", written(fill))["g"]) == names


def soft(file: Any) -> None:
    file["a"], file["b"] = 1, h5py.SoftLink("/a")


def elsewhere(file: Any) -> None:
    file["b"] = h5py.ExternalLink("other.h5", "/a")


def loop(file: Any) -> None:
    file.create_group("a")["b"] = file["/"]


def no_shape(file: Any) -> None:
    file["a"] = h5py.Empty("f4")


def no_shape_of_text(file: Any) -> None:
    file["a"] = h5py.Empty(h5py.string_dtype())


def outside(file: Any) -> None:
    file.create_dataset("a", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", (4,))
    file.create_virtual_dataset("a", layout)


def huge(file: Any) -> None:
    file.create_dataset("a", (1 << 40,), "f8", chunks=(1 << 10,))


def compound(file: Any) -> None:
    file["a"] = np.zeros(2, [("x", "f4"), ("y", "i4")])


def named_type(file: Any) -> None:
    file["a"] = np.dtype("f4")


@pytest.mark.parametrize(
    ("fill", "line"),
    [
        (soft, "x: /b: is missing or a link"),
        (elsewhere, "x: /b: is missing or a link"),
        (loop, "nested in a loop"),
        (no_shape, "x: /a: is no plain dataset"),
        (no_shape_of_text, "x: /a: is no plain dataset"),
        (outside, "x: /a: is no plain dataset"),
        (virtual, "x: /a: is no plain dataset"),
        (huge, "x: /a: claims more data than the file can hold"),
        (compound, "x: /a: has type"),
        (named_type, "x: /: holds what no NIR file holds"),
    ],
)
def test_what_no_nir_file_holds_is_refused(fill: Callable[[Any], None], line: str) -> None:
    with pytest.raises(BadFile, match=line):
        read_tree("x", written(fill))


@pytest.mark.parametrize("only", ["c", "g/c", "a/c"])
def test_one_dataset_that_is_none_is_refused(only: str) -> None:
    def fill(file: Any) -> None:
        file["a"] = 1
        file.create_group("g")["b"] = "text"

    assert read_tree("x", written(fill), only="g/b") == {"": "text"}
    assert read_tree("x", written(fill), only="g") == {"": {"b": "text"}}
    with pytest.raises(BadFile, match="x: /"):
        read_tree("x", written(fill), only=only)
