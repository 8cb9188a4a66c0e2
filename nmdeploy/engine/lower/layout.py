"""What kernels are written for, and what their caller must know to run them: nothing here needs LLVM."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.lower.lanes import Lane
from nmdeploy.neurons.base import IntArray

DRIVER_FIELDS = ("samples", "lengths", "drain_steps", "chunk", "ranges", "kernels", "resets", "moves")
"""Of a program: addresses but for `samples`, `drain_steps` and `chunk`. Tables begin with their number of rows."""
INPUT_ARGS = ("codes", "out", "channels", "stride")
SYNAPSE_ARGS = (
    *("weights", "out", "counts", "events", "found", "codes", "table", "fan_out"),
    *("width", "inputs", "start_offset", "rows"),
)
SYNAPSE_POINTERS = 8
SOURCE_ARGS = ("address", "delay", "stride")
SYNAPSE_COUNTERS = ("input_events", "synaptic_operations", "computed_events", "synaptic_operations_computed")
ROWS_TOGETHER, SIDE = 4, 8
ARGS = ("own", "shared", "state", "scratch", "valid", "out", "record", "counts", "blocks", "start_offset")
POINTERS = ARGS[:8]


@dataclass(frozen=True)
class Form:
    """What a population's kernel is written for.

    Parameters
    ----------
    lanes : int
        Neurons of a block.
    ragged : bool
        Whether the last block has idle lanes.
    sums : mapping of str to int
        Bits of each synapse's sums, 16 or 32.
    output_latency, send_steps : int
        Steps by which the output is late; steps over which it is sent once.
    coded : bool
        Whether outputs are stored as 32-bit codes rather than bits.
    recorded : bool
        Whether binary outputs are also stored as bytes.
    traced : bool
        Whether the recorded states are stored.
    """

    lanes: int
    ragged: bool
    sums: Mapping[str, int]
    output_latency: int
    send_steps: int
    coded: bool
    recorded: bool
    traced: bool


@dataclass(frozen=True)
class RegisterPlace:
    """A register's place in a block's memory: first slot, elements, and the kind of its lanes."""

    slot: int
    dims: tuple[int, ...]
    lane: Lane
    start: Any


@dataclass(frozen=True)
class Layout:
    """What the caller must know to run a population's kernel.

    Parameters
    ----------
    own : (blocks, slots, lanes) parameters that differ between neurons, as they stand in memory, 32 bits a lane
    shared : (slots,) parameters of all
    registers : tuple of Held
    state_slots, scratch_slots : int
    counters : tuple of str
    traces : name, elements and bits of each recorded state
    """

    own: npt.NDArray[np.int32]
    shared: IntArray
    registers: tuple[RegisterPlace, ...]
    state_slots: int
    scratch_slots: int
    counters: tuple[str, ...]
    traces: tuple[tuple[str, tuple[int, ...], int], ...]


def elements(dims: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Indices of every element."""
    return itertools.product(*map(range, dims))


@dataclass(frozen=True)
class RowsForm:
    """What a synapse's kernel is written for.

    Parameters
    ----------
    sources : tuple of str
        ``bits`` or ``codes``, each source's outputs; one source of bits needs no multiplication.
    row_bits, sum_bits : int
        Widths of a weight in memory (8, 16, 32) and of a sum (16, 32).
    tail : int
        Columns of the last chunk of `CHUNK` columns, 0 if it is a whole one.
    chunks : bool
        Whether there are whole chunks.
    counted : bool
        Whether rows have different numbers of synapses, which are added up one by one.
    hold_steps : int
        Steps over which the sum is constant.
    event_bits : int
        Width of an event's number in memory: 8, 16 or 32.
    compress : bool
        Whether the processor compresses a vector of bytes by a mask: 64 channels are listed at once.
    paired : bool
        Whether two rows of bytes are added into 16 bits by one instruction (AVX-512 BW).
    sparse : bool
        Whether rows are lists of entries of `row_bits`: the lower half is the column, the upper one the weight.
    """

    sources: tuple[str, ...]
    row_bits: int
    sum_bits: int
    tail: int
    chunks: bool
    counted: bool
    hold_steps: int
    event_bits: int
    compress: bool
    paired: bool
    sparse: bool = False

    @property
    def binary(self) -> bool:
        """Whether events are 0 or 1."""
        return self.sources == ("bits",)


def order_columns(form: RowsForm, weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Weights (rows, columns) as they stand in memory: where rows are added in pairs, by 64 columns in another order.

    Column ``8 i + j`` of the first 32 stands at ``16 i + j``, that of the others behind each eight of these.
    """
    if not form.paired:
        return weights
    return weights.reshape(len(weights), -1, 2, 4, SIDE).swapaxes(2, 3).reshape(weights.shape)


def offsets() -> Any:
    """(256, 8) bytes: positions of the set bits of a byte, lowest first."""
    table = np.zeros((256, SIDE), np.uint8)
    for byte in range(256):
        places = [bit for bit in range(SIDE) if byte >> bit & 1]
        table[byte, : len(places)] = places
    return table
