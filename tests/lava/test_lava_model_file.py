"""The oracle's own reader of model files: it takes what was written, and nothing that was changed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from networks import lif_case

from nmdeploy import nir_io

FILE = Path(__file__).parent.parent.parent / "nmdeploy" / "lava" / "model_file.py"


@pytest.fixture(scope="module")
def reader() -> Any:
    """The module by itself: the package around it needs Lava."""
    spec = importlib.util.spec_from_file_location("model_file", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_reads_the_integers(reader: Any, tmp_path: Path) -> None:
    network = lif_case(1).network
    nir_io.write(network, tmp_path / "m.nir")
    found = reader.read_model(tmp_path / "m.nir")["nodes"]
    for name, synapse in network.synapses.items():
        np.testing.assert_array_equal(found[name]["weight"], synapse.to_json()["weight"])


def test_a_changed_weight_is_refused(reader: Any, tmp_path: Path) -> None:
    nir_io.write(lif_case(1).network, tmp_path / "m.nir")
    with h5py.File(tmp_path / "m.nir", "r+") as file:
        text = file[reader.DATASET][()].decode()
        place = text.index('"weight":[[') + len('"weight":[[')
        digit = next(i for i in range(place, place + 9) if text[i].isdigit())
        changed = f"{text[:digit]}{(int(text[digit]) + 1) % 10}{text[digit + 1 :]}"
        del file[reader.DATASET]
        file[reader.DATASET] = changed
    with pytest.raises(ValueError, match="does not match its SHA-256"):
        reader.read_model(tmp_path / "m.nir")
