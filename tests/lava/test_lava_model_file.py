"""The oracle's own reader of model files: it takes what was written, and nothing that was changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from lava_reader import lava_reader
from networks import lif_case

from nmdeploy import nir_io


@pytest.fixture(scope="module")
def reader() -> Any:
    return lava_reader()


def test_it_reads_the_integers(reader: Any, tmp_path: Path) -> None:
    network = lif_case(1).network
    nir_io.write(network, tmp_path / "m.nir")
    found = reader.read_model(tmp_path / "m.nir")["nodes"]
    for name, synapse in network.synapses.items():
        for field in ("weight",) if synapse.kind == "dense" else ("offsets", "targets", "codes"):
            np.testing.assert_array_equal(found[name][field], getattr(synapse, field))


def test_a_changed_weight_is_refused(reader: Any, tmp_path: Path) -> None:
    nir_io.write(lif_case(1).network, tmp_path / "m.nir")
    with h5py.File(tmp_path / "m.nir", "r+") as file:
        node = next(iter(file[reader.PLACE]["nodes"].values()))
        array = next(iter(node.values()))
        array[...] = array[()] ^ 1 if array.dtype.kind in "iu" else array[()] + 1
    with pytest.raises(ValueError, match="does not match its SHA-256"):
        reader.read_model(tmp_path / "m.nir")
