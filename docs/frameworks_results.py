"""Training, import and comparison of a network of `examples/frameworks`, for a row of `docs/frameworks.json`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nmdeploy
from examples import train_framework
from examples.train_framework import FOLDER, network_file
from nmdeploy.analysis.comparison import Verification
from nmdeploy.analysis.expectation import Expected
from nmdeploy.importers.python_names import named_object
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.pipeline import Exported, FormatOverrides

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "frameworks"
WEIGHT_BITS = 8
LAVA_SAMPLES = 3
SECONDS_MAX = 180
MOST_LOST = 0.01
MARGIN_MAX = 1e-6
Samples = Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """Files of a trained network."""

    name: str
    folder: Path

    def file(self, ending: str) -> Path:
        return self.folder / f"{self.name}{ending}"

    def samples(self, ending: str) -> Samples:
        """Return inputs and labels: of ".npz" the test samples, of "_calibration.npz" training samples."""
        with np.load(self.file(ending)) as held:
            return dict(held)


def train(name: str, folder: Path = CACHE, *more: str) -> Trained:
    """Return a trained network, from the folder if its files are those of today, else trained into it."""
    found, digest = Trained(name, folder), digest_of(FOLDER / f"{name}.py", Path(train_framework.__file__))
    if not (found.file(".sha256").exists() and found.file(".sha256").read_text("utf-8") == digest):
        command = [sys.executable, "-m", "examples.train_framework", name, "--out", str(folder), *more]
        subprocess.run(command, check=True, cwd=ROOT)
        found.file(".sha256").write_text(digest, "utf-8")
    return found


def digest_of(*files: Path) -> str:
    """Return the SHA-256 of the files' content."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def measure(name: str) -> dict[str, Any]:
    """Return the row of a network: its training, the comparison on all test samples, accuracies, and Lava."""
    return measured(train(name), LAVA_SAMPLES)


def measured(trained: Trained, lava_samples: int) -> dict[str, Any]:
    """Return the row of a trained network; without samples for Lava, its integers are compared with nothing."""
    test, network = trained.samples(".npz"), network_file(trained.name)
    net = named_object(_source(trained.name), str(trained.file(".pt"))).eval()
    with tempfile.TemporaryDirectory() as folder:
        export = _export_built if hasattr(network, "to_network") else _export_named
        exported, floats, comparison = export(trained, net, test, Path(folder))
    against = ("lava",) if lava_samples else ()
    verification = nmdeploy.verify(exported.network, test, against, floats, samples=lava_samples or 1)
    return {
        "file_sha256": digest_of(FOLDER / f"{trained.name}.py"),
        "data": network.DATA,
        "samples": len(test["inputs"]),
        "options": _options(trained.name),
        "parameters": sum(each.numel() for each in net.parameters()),
        **json.loads(trained.file(".json").read_text("utf-8")),
        "import": comparison,
        **_figures(verification),
        "warnings": list(dict.fromkeys((*exported.assessment.warnings, *verification.warnings))),
    }


def _source(name: str) -> str:
    return f"examples.frameworks.{name}:make_net"


def _options(name: str) -> dict[str, Any]:
    found: dict[str, Any] = getattr(network_file(name), "OPTIONS", {})
    return found


def _figures(verification: Verification) -> dict[str, Any]:
    return {
        "accuracy": dict(verification.accuracy),
        "lava": [
            {"samples": each.samples, "values": each.values_compared, "mismatches": each.mismatches}
            for each in verification.comparisons
        ],
    }


def _export_named(trained: Trained, net: Any, test: Samples, folder: Path) -> tuple[Exported, Network, dict[str, Any]]:
    """Export a network by its name, and compare it on the test samples."""
    reading = ReadOptions(weights=str(trained.file(".pt")), **_options(trained.name))
    source, formats = _source(trained.name), FormatOverrides(weight_bits=WEIGHT_BITS)
    calibration = trained.file("_calibration.npz")
    exported = nmdeploy.export(source, folder / "model.nir", data=calibration, options=formats, reading=reading)
    floats = nmdeploy.load(source, test["inputs"], input_format=exported.network.input.format, options=reading)
    assert floats.read_as is not None
    return exported, floats, dict(floats.read_as.comparison)


def _export_built(trained: Trained, net: Any, test: Samples, folder: Path) -> tuple[Exported, Network, dict[str, Any]]:
    """Save what the network's file builds, export that, and compare it with the recurrence on the test samples."""
    floats = network_file(trained.name).to_network(net)
    calibration = trained.samples("_calibration.npz")
    nmdeploy.save(floats, folder / "net.safetensors")
    _, readout = network_file(trained.name).recurrence(net, torch.from_numpy(calibration["inputs"]))
    np.save(folder / "outputs.npy", readout.detach())
    exported = nmdeploy.export(
        folder / "net.safetensors",
        folder / "model.nir",
        data=calibration,
        options=FormatOverrides(weight_bits=WEIGHT_BITS),
        expected=Expected(folder / "outputs.npy"),
    )
    return exported, floats, compared(trained.name, floats, net, test["inputs"])


@torch.no_grad()
def compared(name: str, floats: Network, net: Any, inputs: Any) -> dict[str, Any]:
    """Compare a network with its recurrence in float64, and that with its convolution in float32."""
    network, x = network_file(name), torch.from_numpy(inputs)
    spikes, readout = network.recurrence(net, x)
    convolved, error = network.convolution(net, x)
    run = run_float(floats, inputs)
    differ = {each: int((run.spikes[each] != values.numpy()).sum()) for each, values in spikes.items()}
    return {
        "equal": not any(differ.values()),
        "framework": f"PyTorch {torch.__version__.split('+')[0]}, its recurrence",
        "samples": len(inputs),
        "steps": inputs.shape[1],
        "spikes": sum(values.numel() for values in spikes.values()),
        "differ": sum(differ.values()),
        "values_error": float(np.abs(run.output.mean(1) - readout.numpy()).max() / readout.abs().max()),
        "convolution_differ": sum(int((convolved[each] != values).sum()) for each, values in spikes.items()),
        "convolution_error": error,
    }


def is_marked(row: Mapping[str, Any]) -> bool:
    """Return True if a row misses what the page promises."""
    accuracy = row["accuracy"]
    return bool(
        not row["import"]["equal"]
        or row["import"].get("float32_margin", 0.0) > MARGIN_MAX
        or row["seconds"] > SECONDS_MAX
        or accuracy["float"] - accuracy["quantized"] > MOST_LOST
        or not row["lava"]
        or any(each["mismatches"] for each in row["lava"])
    )
