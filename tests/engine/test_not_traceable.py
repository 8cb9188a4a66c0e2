"""What has no meaning on symbols is refused with a reason, not with whatever Python happened to raise."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from formula_neuron import Formula, FormulaNeuron, formula_case

from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.neurons.base import Registers
from nmdeploy.neurons.ops import take


def loop(e: Any) -> Any:
    return sum(part for part in e.x)


def assigned(e: Any) -> Any:
    e.x[..., 0] = 0
    return e.x


REFUSED: dict[str, tuple[Formula, str]] = {
    "a branch": (lambda e: e.x if e.y[0, 0] > 3 else -e.x, "axis of|branch"),
    "a branch on the step": (lambda e: e.x if e.t > 3 else -e.x, "branch"),
    "and": (lambda e: (e.t > 3) and (e.t < 5), "branch"),
    "a loop": (loop, "loop"),
    "an assignment": (assigned, "assign"),
    "another neuron": (lambda e: e.x[:, 0], "samples or neurons"),
    "a slice of neurons": (lambda e: e.x[:, 1:], "samples or neurons"),
    "a sum over neurons": (lambda e: e.y.sum(-1), "sum over axis"),
    "a sum over samples": (lambda e: e.x.sum(0), "sum over axis"),
    "a matrix product": (lambda e: e.x @ e.m[0], "matmul"),
    "a division": (lambda e: e.x / 2, "divide"),
    "a floor division": (lambda e: e.x // 2, "floor_divide"),
    "a power": (lambda e: e.x**2, "power"),
    "a float": (lambda e: e.x * 0.5, "float64"),
    "a root": (lambda e: np.sqrt(e.x), "sqrt"),
    "a clip": (lambda e: np.clip(e.x, -3, 3), "clip"),
    "a roll": (lambda e: np.roll(e.x, 1, -1), "roll"),
    "a sort": (lambda e: np.sort(e.x, -1), "sort"),
    "an array": (lambda e: np.asarray(e.x), "array"),
    "an integer": (lambda e: e.x * int(e.t), "value"),
    "an index": (lambda e: e.p[:, e.t], "value|index"),
    "a transposition": (lambda e: e.x.T, "'T'"),
    "a copy": (lambda e: e.x.copy(), "copy"),
    "a maximum": (lambda e: e.x.max(-1), "max"),
    "a maximum of an axis": (lambda e: np.maximum.reduce(e.x, axis=-1), "maximum"),
    "a sum that keeps its axis": (lambda e: e.x.sum(-1, keepdims=True), "keepdims"),
    "a place to write": (lambda e: np.add(e.x, 1, out=np.zeros(e.x.shape)), "add"),
    "a shape": (lambda e: e.x.reshape(1, -1, 1, 1), "reshape"),
    "shapes that do not meet": (lambda e: e.x + e.x[..., :2], "shapes"),
    "more than 64 bits": (lambda e: (e.x << 40) * (e.x << 20), "64 bits"),
    "a constant of each sample": (lambda e: e.x + np.ones((2, 1, 1), int), "samples"),
    "a slice backwards": (lambda e: e.x[..., ::-1], "backwards"),
    "a table that is not reached": (lambda e: take(np.arange(3), e.x), "index|table"),
    "a table from behind": (lambda e: take(np.arange(3), e.x % 3 - 1), "index|table"),
    "a table that is one too short": (lambda e: take(np.arange(7), e.x & 7), "index|table"),
    "a negative divisor": (lambda e: e.x % -3, "mod|divi|remainder"),
    "a divisor that may be 0": (lambda e: e.x % (e.x & 7), "mod|divi|remainder"),
}


class Wrong(FormulaNeuron):
    """One formula, which NumPy is not asked."""

    def start(self, samples: int, dtype: Any = np.int64) -> Registers:
        x, y = (np.zeros((samples, self.neurons, *inner), dtype) for inner in ((self.width,), ()))
        return (x,), (y, x)


@pytest.mark.parametrize("name", REFUSED)
def test_a_reason_is_given(name: str) -> None:
    formula, reason = REFUSED[name]
    network = formula_case({}, width=3).network
    nodes = network.nodes | {"n": Wrong(5, 3, {"r": formula})}
    with pytest.raises(NotTraceable, match=r"^population 'n' \(formula\) cannot be compiled \(.*\): ") as caught:
        compile_network(replace(network, nodes=nodes), "states")
    assert re.search(reason, str(caught.value)) and "\n" not in str(caught.value)
