"""What a population's kernel is written for, and what its caller must know to run it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nmdeploy.engine.memory import Slots

ARGS = ("own", "shared", "state", "scratch", "valid", "out", "record", "counts", "blocks", "lag")
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
    lookahead, sent_over : int
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
    lookahead: int
    sent_over: int
    coded: bool
    recorded: bool
    traced: bool


@dataclass(frozen=True)
class Held:
    """A register's place in a block's memory: first slot, elements, and the kind of its lanes."""

    slot: int
    dims: tuple[int, ...]
    kind: str
    start: Any


@dataclass(frozen=True)
class Layout:
    """What the caller must know to run a kernel."""

    slots: Slots
    registers: tuple[Held, ...]
    state_slots: int
    scratch_slots: int
    counters: tuple[str, ...]
    traces: tuple[tuple[str, tuple[int, ...], int], ...]


def elements(dims: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Indices of every element."""
    return itertools.product(*map(range, dims))
