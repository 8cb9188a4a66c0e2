"""Rows of weights and their sums exactly at a limit: widths, pairs, and that inputs that reach the bound agree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_analysis import agreeing, proved
from equal_runs import random_codes
from formula_neuron import FormulaNeuron
from networks_build import Case

from nmdeploy.engine.llvm import machine
from nmdeploy.engine.llvm.rows import dense_weights, packed_entries
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.synapses.dense import QuantizedDense
from nmdeploy.synapses.rows import DenseRows, SparseRows

HALF = 1 << 15


def summed(total: int, channels: int, form: FixedPoint) -> Case:
    """One neuron whose sum is `total` at most, reached where all channels send their largest code."""
    most = form.max
    size, sign = abs(total) // most, 1 if total > 0 else -1
    assert abs(total) == size * most
    weight = np.full(channels, sign * (size // channels))
    weight[: size - size // channels * channels] += sign
    mode = "excitatory" if sign > 0 else "mixed"
    weights = np.stack([weight, -weight // 2 if mode == "mixed" else weight // 2])
    nodes: dict[str, Any] = {
        "input": Input((channels,), form),
        "s": QuantizedDense(weights, 8, 0, mode),
        "n": FormulaNeuron(2, 1, {"a": lambda e: e.a * 1}, inputs=1),
    }
    network = QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
    codes = np.maximum(random_codes(network, 0, 2, 20, 0.9), 0)
    codes[:, 3] = most
    return Case(f"{total}", network, codes)


@pytest.mark.parametrize(
    ("total", "bits"),
    [(HALF - 1, 16), (HALF, 32), (HALF + 1, 32), (1 - HALF, 16), (-HALF, 16), (-HALF - 1, 32)],
)
def test_widths_of_sums(total: int, bits: int) -> None:
    case = summed(total, 300, FixedPoint(1, 0, signed=False))
    assert agreeing(case).synapses["s"].form.sum_bits == bits


@pytest.mark.parametrize(("total", "bits"), [(HALF - 1, 16), (HALF - 1 + 7, 32), (-HALF + 1, 16), (-HALF - 6, 32)])
def test_widths_of_sums_of_codes(total: int, bits: int) -> None:
    case = summed(total, 60, FixedPoint(3, 0, signed=False))
    assert agreeing(case).synapses["s"].form.sum_bits == bits


@pytest.mark.parametrize("code", [127, -128])
def test_codes_of_both_signs_on_weights_of_both_signs(code: int) -> None:
    """The largest sum is that of the least codes on the least weights."""
    nodes = {
        "input": Input((3,), FixedPoint(8)),
        "s": QuantizedDense(np.array([[-128, -127, 0], [127, -128, 127], [-128, -128, 0], [-128, 0, 0]])),
        "n": FormulaNeuron(4, 1, {"a": lambda e: e.a * 1}, inputs=1),
    }
    network = QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
    assert agreeing(Case("", network, np.full((1, 5, 3), code))).synapses["s"].form.sum_bits == 32
    assert proved(network, "n").of("a").high.reshape(-1).tolist() == [32640, 48642, 32768, 16384]


@pytest.mark.parametrize(
    ("neurons", "channels"), [*((n, 255) for n in (64, 128, 192, 512, 576, 1088)), (64, 258), (64, 259), (64, 300)]
)
def test_rows_of_bytes_that_are_added_in_pairs(neurons: int, channels: int) -> None:
    """Pairs of the least and of the largest weights, in every column; lists of all lengths; sums that leave 16 bits."""
    rng = np.random.default_rng(neurons)
    weights = rng.choice([-128, -127, -1, 0, 1, 127], (neurons, channels))
    weights[::3] = np.where(np.arange(channels) % 2, 127, -128)
    weights[1] = 127
    nodes: dict[str, Any] = {
        "input": Input((channels,), FixedPoint(1, 0, signed=False)),
        "s": QuantizedDense(weights),
        "n": FormulaNeuron(neurons, 1, {"a": lambda e: e.a * 1}, inputs=1),
    }
    network = QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
    codes = (rng.random((1, 24, channels)) < np.linspace(0, 1, 24)[:, None]).astype(np.int64)
    paired = agreeing(Case("", network, codes)).synapses["s"].form.paired
    assert paired == (machine.has("avx512bw") and 127 * channels < HALF)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (-128, 127, "i1"),
        (-129, 0, "i2"),
        (0, 128, "i2"),
        (-HALF, HALF - 1, "i2"),
        (-HALF - 1, 0, "i4"),
        (0, HALF, "i4"),
        (-(1 << 31), (1 << 31) - 1, "i4"),
    ],
)
def test_rows_have_the_narrowest_type_that_holds_them(low: int, high: int, kind: str) -> None:
    """Other families' weights may be wider than 8 bits."""
    placed: Any = SimpleNamespace(inputs=8, planes=1, width=8, columns=8, neurons=1, place=np.arange(2))
    rows = dense_weights(DenseRows(np.array([[low], [high]])), placed)
    assert rows.dtype == kind and rows[:2, 0].tolist() == [low, high] and not rows[2:].any()


@pytest.mark.parametrize(("low", "high", "bits"), [(-HALF, HALF - 1, 32), (-(1 << 31), (1 << 31) - 1, 64)])
def test_entries_hold_the_ends_of_their_halves(low: int, high: int, bits: int) -> None:
    last = (1 << bits // 2) - 1
    placed: Any = SimpleNamespace(inputs=8, place=np.array([5, 2]), column=lambda outputs: outputs)
    rows = SparseRows(np.array([0, 1, 3]), np.array([last, 0, last]), np.array([low, high, low]), last + 1)
    starts, packed = packed_entries(rows, placed, bits)
    assert packed.itemsize == bits // 8 and starts.tolist() == [0, 0, 0, 2, 2, 2, 3, 3, 3, 3]
    assert (packed >> bits // 2).tolist() == [high, low, low] and (packed & last).tolist() == [0, last, last]
