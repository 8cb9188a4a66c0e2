"""An event loop of some 40 lines, compiled by Numba, against `compiled`: ``python -m benchmarks.run --only Numba``.

It is what a user writes who wants no library: LIF layers, rows added per event, all integers exact in float64. Its
spikes must equal the reference's.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import nmdeploy
from benchmarks import networks
from benchmarks.timing import run, seconds_of
from nmdeploy.backends import reference
from nmdeploy.network.network import QuantizedNetwork

BATCH, FEW_STEPS, CALLS = 64, 4, 2000
SUBJECTS = {"samples": f"{BATCH} samples", "call": f"a call of {FEW_STEPS} steps"}


def steps(codes: Any, rows: Any, parameters: Any, gain: float, state: Any, out: Any) -> None:
    """Run the steps of one sample through all layers (docs/arithmetic.md, LIF); `state` goes on from step to step."""
    layers, _, width = rows.shape
    sums, sent = np.empty(width, np.int16), np.empty((layers, width), np.uint8)
    for t in range(codes.shape[0]):
        for layer in range(layers):
            arrived = codes[t] if layer == 0 else sent[layer - 1]
            sums[:] = 0
            for i in range(width):
                if arrived[i]:
                    row = rows[layer, i]
                    for h in range(width):
                        sums[h] += row[h]
            keep_u, keep_v, bias, vth = parameters[layer]
            u, v, spikes = state[layer, 0], state[layer, 1], sent[layer]
            for h in range(width):
                x = np.trunc(u[h] * keep_u[h]) + sums[h] * gain
                x = x - 16777216.0 * (x > 8388608.0) + 16777216.0 * (x <= -8388608.0)
                y = min(max(np.trunc(v[h] * keep_v[h]) + (x + bias[h]), -8388607.0), 8388607.0)
                spike = y > vth[h]
                u[h] = x
                v[h] = y * (1 - spike)
                spikes[h] = spike
        out[t] = sent[layers - 1]


def compiled_loops() -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the loop over the steps of one sample, and one over samples on all processors."""
    import numba

    flags = {"nnan", "ninf", "nsz", "contract"}
    one = numba.njit(nogil=True, error_model="numpy", fastmath=flags)(steps)

    @numba.njit(parallel=True)  # type: ignore[untyped-decorator]
    def many(codes: Any, rows: Any, parameters: Any, gain: float, out: Any) -> None:
        for sample in numba.prange(codes.shape[0]):
            state = np.zeros((rows.shape[0], 2, rows.shape[2]))
            one(codes[sample], rows, parameters, gain, state, out[sample])

    return one, many


def arguments(network: QuantizedNetwork) -> tuple[Any, Any, float]:
    """Return rows (layers, inputs, neurons), parameters (layers, 4, neurons) and the weights' factor."""
    neurons: list[Any] = list(network.populations.values())
    synapses: list[Any] = list(network.synapses.values())
    rows = np.ascontiguousarray(np.stack([synapse.weight.T for synapse in synapses]).astype(np.int16))
    parameters = [
        np.stack([(4095 - each.du) / 4096, (4096 - each.dv) / 4096, each.bias_mant << each.bias_exp, each.vth << 6])
        for each in neurons
    ]
    return rows, np.stack(parameters), 2.0 ** (synapses[0].weight_exp + 6)


def measure(turns: int) -> dict[str, dict[str, Any]]:
    """Return seconds of both, their ratio and if spikes are equal, for a batch and for a call of a few steps."""
    network, codes = networks.lif(networks.CHANNELS), networks.inputs(BATCH, networks.CHANNELS)
    rows, parameters, gain = arguments(network)
    one, many = compiled_loops()
    out = np.empty(codes.shape, np.uint8)

    def loop() -> Any:
        many(codes, rows, parameters, gain, out)
        return out

    few = np.ascontiguousarray(codes[0, :FEW_STEPS])
    state, short = np.zeros((len(rows), 2, networks.CHANNELS)), np.empty((FEW_STEPS, networks.CHANNELS), np.uint8)

    def call() -> Any:
        state[:] = 0
        one(few, rows, parameters, gain, state, short)
        return short

    session = nmdeploy.Session(network, "compiled")

    def push() -> Any:
        session.reset()
        return session.push(few)

    expected = reference.run(network, codes[:2].astype(np.int64)).output
    return {
        "samples": {
            **_ratio(partial(run, "compiled", network, codes), loop, turns, 1),
            "equal": bool(np.array_equal(loop()[:2], expected)),
        },
        "call": {
            **_ratio(push, call, turns, CALLS),
            "equal": np.array_equal(call(), push()) and np.array_equal(push(), expected[0, :FEW_STEPS]),
        },
    }


def _ratio(own: Callable[[], Any], other: Callable[[], Any], turns: int, calls: int) -> dict[str, Any]:
    """Return the median seconds of a call of both and of their ratio; the two take turns."""
    for each in (own, other):
        each()
    found = [[seconds_of(partial(_repeat, each, calls)) / calls for each in (own, other)] for _ in range(turns)]
    ratios = [loop / ours for ours, loop in found]
    compiled, numba = (statistics.median(times) for times in zip(*found, strict=True))
    return {"compiled": compiled, "numba": numba, "ratio": statistics.median(ratios), "ratios": ratios}


def _repeat(call: Callable[[], Any], calls: int) -> None:
    for _ in range(calls):
        call()
