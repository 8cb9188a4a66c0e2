"""Importing real NIR files, whole and damaged: a network or an error of ours comes out, nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmdeploy.errors import BadFile, NmdeployError, UnsupportedParameter
from nmdeploy.importers import nir as importer
from nmdeploy.network.float_run import run_float
from nmdeploy.network.read_options import ReadOptions

CORPUS = os.environ.get("NMDEPLOY_CORPUS")
needs_corpus = pytest.mark.skipif(not CORPUS, reason="NMDEPLOY_CORPUS does not name the corpus of real files")


def corpus(name: str) -> Path:
    """A file of the corpus."""
    return Path(str(CORPUS)) / name


@needs_corpus
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_braille_spikes_equal_snntorch(dtype: Any) -> None:
    network = importer.load(corpus("braille_noDelay_bias_zero.nir"), ReadOptions(dt=1e-4))
    expected = np.load(corpus("snntorch_activity_noDelay_bias_zero.npy"))
    found = run_float(network, np.load(corpus("braille_test0_input.npy"))[None], dtype=dtype).spikes["lif1.lif"][0]
    assert expected.sum() == 119
    assert (found != expected).sum() == 0
    assert found.size == 9728


@needs_corpus
def test_norse_and_sinabs_files() -> None:
    network = importer.load(corpus("lif_norse.nir"), ReadOptions(dt=1e-4))
    assert np.allclose(network.populations["1"].beta, 0.96)
    assert np.allclose(network.synapses["0"].weight, 0.04)
    with pytest.raises(UnsupportedParameter, match=r"node '0': type 'Conv2d'"):
        importer.load(corpus("cnn_sinabs.nir"), ReadOptions(dt=1.0))
    problems = importer.problems(corpus("cnn_sinabs.nir"))
    assert sum(problem is not None for _, _, problem in problems) == 5


@needs_corpus
@pytest.mark.parametrize(
    ("name", "every"), [("lif_norse", 53), ("braille_noDelay_bias_zero", 199), ("cnn_sinabs", 5003)]
)
def test_damaged_files_give_no_other_error(name: str, every: int, tmp_path: Path) -> None:
    content, path = corpus(f"{name}.nir").read_bytes(), tmp_path / "damaged.nir"
    for place in range(0, len(content), every):
        changed = bytearray(content)
        changed[place] ^= 1 << (place // every) % 8
        path.write_bytes(changed)
        try:
            importer.load(path, ReadOptions(dt=1e-4))
        except NmdeployError as error:
            assert "\n" not in str(error)
    for length in range(0, len(content), len(content) // 20):
        path.write_bytes(content[:length])
        with pytest.raises(BadFile):
            importer.load(path, ReadOptions(dt=1e-4))


def test_missing_empty_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "empty.nir").write_bytes(b"")
    (tmp_path / "text.nir").write_text("hello" * 200)
    for path in (tmp_path / "none.nir", tmp_path, tmp_path / "empty.nir", tmp_path / "text.nir"):
        with pytest.raises(BadFile, match=str(path)):
            importer.load(path, ReadOptions(dt=1.0))
