"""Memory of results is used again when nobody holds it, and only then."""

from __future__ import annotations

import numpy as np
from networks_wired import chain

from nmdeploy.backends import compiled, reference
from nmdeploy.engine.run.memory import Spare

SHAPE, WHOLE = (4, 10, 3), np.full(4, 10)


def test_memory_that_nobody_holds_is_used_again() -> None:
    spare = Spare()
    first = spare.zeros(SHAPE, np.uint8, WHOLE)
    first[:] = 7
    address = first.ctypes.data
    second = spare.zeros(SHAPE, np.uint8, WHOLE)
    assert second.ctypes.data != address and not second.any()
    del first
    third = spare.zeros(SHAPE, np.uint8, np.array([10, 3, 10, 0]))
    assert third.ctypes.data == address
    assert third[0].all() and third[2].all() and not third[1, 3:].any() and not third[3].any()


def test_a_view_holds_it() -> None:
    spare = Spare()
    kept = spare.zeros(SHAPE, np.uint8, WHOLE).view(bool)[..., 0]
    assert spare.zeros(SHAPE, np.uint8, WHOLE).ctypes.data != kept.ctypes.data


def test_recordings_that_are_kept_stay_as_they_are() -> None:
    network, codes = chain(2, 32, 32), np.random.default_rng(0).integers(0, 2, (4, 6, 20, 32)).astype(np.uint8)
    lengths = [np.full(6, 20), np.arange(1, 7), np.full(6, 20), np.arange(15, 21)]
    found = [compiled.run(network, part, lengths=steps) for part, steps in zip(codes, lengths, strict=True)]
    for part, steps, recording in zip(codes, lengths, found, strict=True):
        assert np.array_equal(recording.output, reference.run(network, part, lengths=steps).output)
