"""Sparse synapses from files: NIR weights with many zeros, and modules that torch prunes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from nmdeploy import nir_io, pipeline
from nmdeploy.backends import compiled, reference
from nmdeploy.errors import BadFile
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers import nir as nir_importer
from nmdeploy.importers.checkpoint import load
from nmdeploy.importers.checkpoint_content import digest
from nmdeploy.models import create
from nmdeploy.models.checkpoint import load as load_module
from nmdeploy.models.checkpoint import save
from nmdeploy.network.float_run import run_float
from nmdeploy.network.read_options import ReadOptions

GRADED = FixedPoint(bits=5, frac=4, signed=False)


def exported(path: Path, weight: Any, bias: Any = None) -> Path:
    """A NIR file of one population behind the weights."""
    size, channels = weight.shape
    values = {"tau": 1e-2, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.2, "v_reset": 0.0}
    nodes = {
        "input": nir.Input(np.array([channels])),
        "fc": nir.Linear(weight) if bias is None else nir.Affine(weight, bias),
        "n": nir.LIF(**{name: np.full(size, value) for name, value in values.items()}),
        "output": nir.Output(np.array([size])),
    }
    edges = [("input", "fc"), ("fc", "n"), ("n", "output")]
    nir.write(path, nir.NIRGraph(nodes, edges, type_check=False))
    return path


@pytest.mark.parametrize("biased", [False, True])
def test_nir_weights_with_many_zeros_become_sparse(tmp_path: Path, biased: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 80)) * (rng.random((64, 80)) < 0.2)
    path = exported(tmp_path / "g.nir", weight, rng.normal(size=64) if biased else None)
    network = nir_importer.load(path, ReadOptions(dt=1e-3))
    synapse: Any = network.synapses["fc"]
    assert synapse.kind == "sparse"
    np.testing.assert_allclose(synapse.rows.matrix(np.asarray), 0.2 * weight, rtol=1e-6)
    full = nir_importer.load(exported(tmp_path / "f.nir", np.where(weight, weight, 1e-3)), ReadOptions(dt=1e-3))
    assert full.synapses["fc"].kind == "dense"


def test_a_sparse_network_from_file_to_file(tmp_path: Path) -> None:
    """Quantized, written, read, run; our own file is read as float NIR too."""
    rng = np.random.default_rng(0)
    path = exported(tmp_path / "g.nir", rng.normal(size=(64, 80)) * (rng.random((64, 80)) < 0.2))
    q = pipeline.quantize(pipeline.load(path, dt=1e-3), profile="loihi2")
    pipeline.write(q, tmp_path / "m.nir")
    assert pipeline.read(tmp_path / "m.nir") == q and q.synapses["fc"].kind == "sparse"
    codes = (rng.random((3, 40, 80)) < 0.3).astype(np.int64)
    assert np.array_equal(reference.run(q, codes).output, compiled.run(q, codes).output)
    assert nir_io.describe(tmp_path / "m.nir")["synapses"]["fc"]["kind"] == "sparse"
    assert nir_importer.load(tmp_path / "m.nir").synapses["fc"].kind == "sparse"


def pruned(amount: float = 0.9) -> Any:
    """A trained model whose second block's synapses are pruned."""
    module = create("binary-s4d", inputs=1, channels=64, states=2, layers=2, outputs=3, seed=0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        module(torch.randint(0, 17, (8, 12, 1), generator=generator) / 16)
    prune.l1_unstructured(module.blocks[1].synapse, "weight", amount=amount)
    return module.eval()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_pruned_modules_are_read_with_their_masks(tmp_path: Path, suffix: str) -> None:
    module, path = pruned(), tmp_path / f"m{suffix}"
    save(module, path, input_format=GRADED)
    network = load(path)
    synapse: Any = network.synapses["block1.synapse"]
    weight = module.blocks[1].synapse.weight.detach().double().numpy()
    assert synapse.kind == "sparse" and synapse.rows.nonzero == np.count_nonzero(weight) == 410
    assert np.array_equal(synapse.rows.matrix(np.asarray) != 0, weight != 0)
    codes = np.random.default_rng(0).integers(0, 17, (4, 20, 1))
    again = load_module(path).double().eval()
    with torch.no_grad():
        wanted = module.double()(torch.from_numpy(GRADED.dequantize(codes)))[0]
        assert torch.equal(again(torch.from_numpy(GRADED.dequantize(codes)))[0], wanted)
    found = run_float(network, GRADED.dequantize(codes)).output[:, -1]
    np.testing.assert_allclose(found / 20, wanted.numpy(), rtol=1e-6, atol=1e-6)  # the module takes the mean


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("blocks.1.synapse.weight_mask"), r"'blocks.1.synapse.weight_mask' is missing"),
        (lambda t: t["blocks.1.synapse.weight_mask"].add_(0.5), "no mask of 0 and 1"),
    ],
)
def test_a_mask_that_is_none_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "m.pt"
    save(pruned(), path, input_format=GRADED)
    content = torch.load(path, weights_only=True)
    change(content["state_dict"])
    arrays = {name: tensor.numpy() for name, tensor in content["state_dict"].items()}
    torch.save({**content, "sha256": digest(content["config"], arrays)}, path)
    with pytest.raises(BadFile, match=message):
        load(path)
