"""Dense input that a library multiplies gives the same values and counts as its events do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from equal_runs import both, random_codes, random_lengths
from networks_windowed import windowed_case
from networks_wired import Wired, chain

from nmdeploy.backends import embedded
from nmdeploy.engine import multiplied, products
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network import BINARY

UNSIGNED, SIGNED = FixedPoint(8, 0, signed=False), FixedPoint(8, 0, signed=True)


@pytest.fixture(params=["torch", "onnxruntime"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The library takes every product that it may; yields the synapses that it took."""
    pytest.importorskip(request.param)
    taken: list[str] = []

    def measured(self: Any, name: str, rows: Any, codes: Any) -> str:
        taken.append(name)
        return str(request.param)

    monkeypatch.setattr(multiplied.Multiplied, "_measured", measured)
    yield taken


@pytest.mark.parametrize("form", [BINARY, UNSIGNED, SIGNED], ids=["binary", "unsigned", "signed"])
@pytest.mark.parametrize("channels", [1, 3, 8, 33, 300, 513])
def test_dense_inputs(library: list[str], channels: int, form: FixedPoint) -> None:
    network = chain(channels, channels, 21, 5, form=form)
    codes = random_codes(network, 0, 6, 25, share=0.9)
    for dtype in (np.int64, np.int16, np.int8 if form is SIGNED else np.uint8):
        for trace in ("none", "states"):
            both(network, codes.astype(dtype), random_lengths(0, 6, 25), trace)
    assert set(library) == {"n0.0"}


@pytest.mark.parametrize("form", [UNSIGNED, SIGNED], ids=["unsigned", "signed"])
def test_the_largest_sums(library: list[str], form: FixedPoint) -> None:
    """Two products of a byte with a byte leave 16 bits: where a library saturates there, these sums show it."""
    rng = np.random.default_rng(0)
    channels, size = 64, 40
    wired = Wired(0, channels, form)
    wired.readout("n", size)
    name = wired.connect(["input"], "n")
    weight = rng.choice([-128, 127], (size, channels))
    weight[0], weight[1], weight[2, ::2], weight[2, 1::2] = 127, -128, 127, -128
    wired.nodes[name] = type(wired.nodes[name])(weight)
    network = wired.network("n")
    codes = rng.choice([form.min, form.max], (3, 20, channels))
    codes[0, :3], codes[0, 3:6], codes[0, 6, ::2] = form.max, form.min, form.max
    both(network, codes)
    both(network, codes.astype(np.int8 if form is SIGNED else np.uint8), trace="none")
    assert library


def test_largest_sums_of_every_library() -> None:
    for name in ("torch", "onnxruntime"):
        if name == "onnxruntime" and products.library() != name:
            continue
        pytest.importorskip(name)
        for code, weight in ((255, 127), (255, -128), (-128, -128), (-128, 127), (127, 127)):
            codes, weights = np.full((20, 512), code), np.full((512, 16), weight, np.int8)
            assert (products.sums(codes, weights, name) == 512 * code * weight).all(), (name, code, weight)


def test_sparse_input_stays_events(library: list[str]) -> None:
    network = chain(1, 30, 21)
    both(network, random_codes(network, 0, 6, 25, share=0.05))
    assert not library


def test_what_comes_late_or_together_stays_events(library: list[str]) -> None:
    wired = Wired(3, 12, SIGNED)
    wired.lif("a", 12)
    wired.connect(["input"], "a")
    wired.connect([("input", 1)], "a")
    wired.lif("b", 12)
    wired.connect(["a", ("input", 2)], "b")
    network = wired.network("b")
    both(network, random_codes(network, 0, 5, 40, share=0.9), random_lengths(0, 5, 40))
    assert set(library) <= {"a.0"}


@pytest.mark.parametrize("seed", range(3))
def test_windows(library: list[str], seed: int) -> None:
    network = windowed_case(seed).network
    codes = random_codes(network, 0, 9, 140, share=0.95)
    both(network, codes, random_lengths(0, 9, 140))
    both(network, codes, None, "none")


def test_dense_after_sparse_and_sparse_after_dense(library: list[str]) -> None:
    network = chain(1, 30, 21, form=UNSIGNED)
    for share in (0.02, 0.9, 0.02, 0.9):
        both(network, random_codes(network, 0, 40, 12, share), trace="none")


def test_codes_beyond_a_byte_stay_events(library: list[str]) -> None:
    network = chain(1, 9, 21, form=FixedPoint(10, 0, signed=True))
    both(network, random_codes(network, 0, 4, 12, 0.9))
    mixed = np.full((1, 3, 9), -1)
    mixed[0, 1] = 200
    both(network, mixed)
    assert embedded.run(network, mixed.astype(np.int16)).output.shape == (1, 3, 21)
