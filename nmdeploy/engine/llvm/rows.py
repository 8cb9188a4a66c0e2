"""Lays out the rows of a synapse in memory, and writes the kernel that adds them.

Rows are dense (a weight per output) or sparse (an entry per weight that is not zero). Both give the same sums. A dense
weight takes a byte and a part of a vector instruction, an entry takes four bytes and an addition of its own. So the
share of the weights that are not zero decides which form is faster. Where an estimate leaves it open, both are planned,
and a run measures them (`nmdeploy/engine/run/rows_choice.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from nmdeploy.engine.bounds.interval_arithmetic import Bound
from nmdeploy.engine.llvm import machine
from nmdeploy.engine.llvm.sparse_rows import write_sparse_rows
from nmdeploy.engine.llvm.synapses import CHUNK, write_rows
from nmdeploy.engine.lower.layout import RowsForm
from nmdeploy.engine.lower.program import KERNEL, Rows, Wires
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.network.graph import Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron
from nmdeploy.synapses import rows as synapse_rows

# Measured with rows in the second-level cache and vectors of 256 bits: an entry, and the start of a sparse row, take as
# long as so many columns of a dense row. Dense rows that leave the cache are slower still.
ENTRY_COLUMNS, START_COLUMNS = 25, 75
# A form is tried unless the other one is estimated to be so many times as fast. Dense rows that are tried take at most
# ENTRY_COLUMNS * SPARSE_SURELY bytes per entry.
SPARSE_SURELY, DENSE_SURELY = 3, 4
ENTRY_TARGETS, ENTRY_CODES = 1 << 16, 1 << 15
ENTRIES_MAX = 1 << 31
DENSE, SPARSE = "dense", "sparse"


def module() -> ir.Module:
    """An empty module."""
    made = ir.Module(name=KERNEL)
    made.triple = machine.triple()
    return made


def output_bounds(network: QuantizedNetwork, name: str) -> tuple[int, int]:
    """Lowest and highest output of a node."""
    node = network.nodes[name]
    if isinstance(node, Input):
        return min(node.format.min, 0), node.format.max
    assert isinstance(node, QuantizedNeuron)
    return -node.output_max, node.output_max


def sum_bound(network: QuantizedNetwork, synapse: str) -> Bound:
    """Lowest and highest sum of each output, in whatever order its terms are added: (outputs,) arrays."""
    ends = [output_bounds(network, edge.source) for edge in network.incoming[synapse]]
    low, high = sum(min(low, 0) for low, _ in ends), sum(max(high, 0) for _, high in ends)
    negative, positive = (part.astype(np.float64) for part in network.synapses[synapse].rows.signed_sums())
    return Bound(positive * low + negative * high, positive * high + negative * low)


def sum_bits(network: QuantizedNetwork, synapse: str) -> int:
    """Width of the accumulators: 16 bits where no sum can leave them."""
    low, high = sum_bound(network, synapse)
    return 16 if low.min(initial=0) >= -(2**15) and high.max(initial=0) < 2**15 else 32


def forms_to_try(columns: int, fan_out: float) -> tuple[str, ...]:
    """Return the forms of rows that may be the fastest, the likelier one first, for a mean fan-out.

    >>> forms_to_try(8192, 82), forms_to_try(512, 20), forms_to_try(128, 100)
    (('sparse',), ('dense', 'sparse'), ('dense',))
    """
    faster = columns / (ENTRY_COLUMNS * fan_out + START_COLUMNS)
    if faster >= SPARSE_SURELY:
        return (SPARSE,)
    if faster <= 1 / DENSE_SURELY:
        return (DENSE,)
    return (SPARSE, DENSE) if faster > 1 else (DENSE, SPARSE)


def plan_rows(
    network: QuantizedNetwork, name: str, wires: Mapping[str, Wires], target: Wires, forms: Sequence[str] = ()
) -> list[Rows]:
    """Return the rows of a synapse in each form that may be the faster one, or in the given `forms`."""
    sources = [wires[edge.source] for edge in network.incoming[name]]
    if len({(w.planes, w.width if w.planes > 1 else 0) for w in sources}) > 1:
        raise NotTraceable(
            f"synapse {name!r} cannot be compiled (its sources have different numbers of outputs a neuron): "
            "run it with --backend reference"
        )
    placed = _Placed(network, name, sources, target)
    fan_out = placed.rows.nonzero / max(placed.rows.shape[1], 1)
    return [PLANS[form](placed) for form in forms or forms_to_try(placed.columns, fan_out)]


class _Placed:
    """Rows, and where their inputs and outputs lie in the memory of the sources and of the target."""

    def __init__(self, network: QuantizedNetwork, name: str, sources: list[Wires], target: Wires) -> None:
        self.rows, self.sources = network.synapses[name].rows, sources
        low, high = self.rows.limits()
        if low < -(1 << 31) or high >= 1 << 31:
            raise NotTraceable(
                f"a synapse with weights {low} to {high} cannot be compiled: run it with --backend reference"
            )
        population = network.populations[network.target[name]]
        self.neurons, self.planes, self.width = population.size, population.input_size // population.size, target.width
        self.inputs = min(w.entries for w in sources) if sources[0].planes > 1 else -(-sources[0].size // 8) * 8
        self.place = sources[0].place()
        self.sum_bits, self.hold_steps = sum_bits(network, name), network.timing.hold_steps[name]

    @property
    def columns(self) -> int:
        """Places for sums."""
        return self.planes * self.width

    def column(self, outputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Places of outputs."""
        return np.asarray(outputs % self.planes * self.width + outputs // self.planes)

    def form(self, **fields: Any) -> RowsForm:
        """Return the form that the kernel is written for."""
        return RowsForm(
            sources=tuple("codes" if w.coded else "bits" for w in self.sources),
            sum_bits=self.sum_bits,
            hold_steps=self.hold_steps,
            event_bits=next(bits for bits in (8, 16, 32) if self.inputs < 1 << bits),
            compress=machine.has("avx512vbmi2"),
            **fields,
        )


def _dense(placed: _Placed) -> Rows:
    weights, fan_out = dense_weights(placed.rows, placed), np.zeros(placed.inputs + 1, np.int64)
    fan_out[placed.place] = found = placed.rows.fan_out
    form = placed.form(
        row_bits=8 * weights.itemsize,
        tail=placed.columns % CHUNK,
        chunks=placed.columns >= CHUNK,
        counted=bool((found != found[:1]).any()),
        paired=_may_pair_rows(placed.sources, weights, placed.sum_bits) and machine.has("avx512bw"),
    )
    made = module()
    write_rows(made, KERNEL, form)
    return Rows(str(made), form, weights, fan_out, placed.inputs, placed.columns)


def _may_pair_rows(sources: Sequence[Wires], weights: Any, bits: int) -> bool:
    """Return True if rows of weights of spikes may be added two at a time."""
    return (
        len(sources) == 1
        and not sources[0].coded
        and weights.itemsize == 1
        and bits == 16
        and not weights.shape[1] % 64
    )


def dense_weights(rows: synapse_rows.Rows, placed: Any) -> Any:
    """(inputs + 1, columns), in the order of the sources' and the target's memory, in the narrowest type."""
    low, high = rows.limits()
    kind = next(
        kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max
    )
    weights = np.zeros((placed.inputs + 1, placed.columns), kind)
    if isinstance(rows, synapse_rows.DenseRows):
        shape = placed.inputs + 1, placed.planes, placed.width
        codes = rows.codes.reshape(-1, placed.neurons, placed.planes).transpose(0, 2, 1)
        weights.reshape(shape)[placed.place, :, : placed.neurons] = codes
    else:
        entries = rows.sparse()
        weights[placed.place[entries.sources], placed.column(entries.targets)] = entries.codes
    return weights


def _sparse(placed: _Placed) -> Rows:
    entries = placed.rows.sparse()
    if entries.targets.size >= ENTRIES_MAX:
        raise NotTraceable(
            f"a synapse with {entries.targets.size} weights cannot be compiled: run it with --backend reference"
        )
    low, high = entries.limits()
    wide = placed.columns > ENTRY_TARGETS or low < -ENTRY_CODES or high >= ENTRY_CODES
    starts, packed = packed_entries(entries, placed, 64 if wide else 32)
    form = placed.form(row_bits=8 * packed.itemsize, tail=0, chunks=False, counted=True, paired=False, sparse=True)
    made = module()
    write_sparse_rows(made, KERNEL, form)
    return Rows(str(made), form, packed, starts, placed.inputs, placed.columns)


def packed_entries(
    entries: synapse_rows.SparseRows, placed: Any, bits: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(inputs + 2,) where each row starts, and the entries: the lower half the column, the upper one the code."""
    places = placed.place[entries.sources]
    order = np.argsort(places, kind="stable")
    columns, codes = placed.column(entries.targets[order]), entries.codes[order]
    packed = (codes << bits // 2 | columns).astype(f"i{bits // 8}")
    lengths = np.bincount(places, minlength=placed.inputs + 1)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), packed


PLANS = {DENSE: _dense, SPARSE: _sparse}
