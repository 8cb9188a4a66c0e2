"""Training, import and comparison of a network of `examples/frameworks`, for a row of `docs/frameworks.json`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from uv import find_uv_bin

import nmdeploy
from examples import train_framework
from examples.train_framework import FOLDER, network_file
from nmdeploy.analysis.comparison import Verification
from nmdeploy.analysis.expectation import Expected, with_expected
from nmdeploy.importers.python_names import named_object
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.pipeline import Exported, FormatOverrides

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "frameworks"
SINABS_VERSION = "3.1.3"
SINABS = (
    f"uv run --no-project --python 3.11 --with sinabs=={SINABS_VERSION} --with torch==2.13.0 "
    "--with scikit-learn --with click python"
)
"""Python with Sinabs, which cannot share an environment with nmdeploy."""
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
        _python(name, "-m", "examples.train_framework", name, "--out", str(folder), *more)
        found.file(".sha256").write_text(digest, "utf-8")
    return found


def _python(name: str, *arguments: str) -> None:
    """Run Python where the framework of a network is, in the root of the repository."""
    command = [str(find_uv_bin()), *SINABS.split()[1:]] if is_of_sinabs(name) else [sys.executable]
    subprocess.run([*command, *arguments], check=True, cwd=ROOT)


def is_of_sinabs(name: str) -> bool:
    """Return True for a network that is exported as a file."""
    return name.startswith("sinabs")


def digest_of(*files: Path) -> str:
    """Return the SHA-256 of the files' content."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def measure(name: str) -> dict[str, Any]:
    """Return the row of a network: its training, the comparison on all test samples, accuracies, and Lava."""
    return measured(train(name), LAVA_SAMPLES)


def measured(trained: Trained, lava_samples: int) -> dict[str, Any]:
    """Return the row of a trained network; without samples for Lava, its integers are compared with nothing."""
    test = trained.samples(".npz")
    with tempfile.TemporaryDirectory() as folder:
        exported, floats, comparison = _way(trained.name)(trained, test, Path(folder))
    against = ("lava",) if lava_samples else ()
    verification = nmdeploy.verify(exported.network, test, against, floats, samples=lava_samples or 1)
    return {
        "file_sha256": digest_of(FOLDER / f"{trained.name}.py"),
        "samples": len(test["inputs"]),
        "options": _options(trained.name),
        **json.loads(trained.file(".json").read_text("utf-8")),
        "import": comparison,
        **_figures(verification),
        "warnings": list(dict.fromkeys((*exported.assessment.warnings, *verification.warnings))),
    }


def _way(name: str) -> Callable[[Trained, Samples, Path], tuple[Exported, Network, dict[str, Any]]]:
    if is_of_sinabs(name):
        return _export_file
    return _export_built if hasattr(network_file(name), "to_network") else _export_named


def _source(name: str) -> str:
    return f"examples.frameworks.{name}:make_net"


def _options(name: str) -> dict[str, Any]:
    if is_of_sinabs(name):
        return {"framework": "sinabs"}
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


def _export_named(trained: Trained, test: Samples, folder: Path) -> tuple[Exported, Network, dict[str, Any]]:
    """Export a network by its name, and compare it on the test samples."""
    reading = ReadOptions(weights=str(trained.file(".pt")), **_options(trained.name))
    source, formats = _source(trained.name), FormatOverrides(weight_bits=WEIGHT_BITS)
    calibration = trained.file("_calibration.npz")
    exported = nmdeploy.export(source, folder / "model.nir", data=calibration, options=formats, reading=reading)
    floats = nmdeploy.load(source, test["inputs"], input_format=exported.network.input.format, options=reading)
    assert floats.read_as is not None
    return exported, floats, dict(floats.read_as.comparison)


def _export_file(trained: Trained, test: Samples, folder: Path) -> tuple[Exported, Network, dict[str, Any]]:
    """Write a network as a file where its framework is, export that, and compare its outputs on the test samples."""
    source, outputs, samples = folder / "net.nir", folder / "outputs.npy", trained.file(".npz")
    files = ("--weights", trained.file(".pt"), "--data", samples, "-o", source, "--outputs", outputs)
    _python(trained.name, "examples/export_sinabs.py", _source(trained.name), *map(str, files))
    reading, formats = ReadOptions(**_options(trained.name)), FormatOverrides(weight_bits=WEIGHT_BITS)
    calibration = trained.file("_calibration.npz")
    exported = nmdeploy.export(source, folder / "model.nir", data=calibration, options=formats, reading=reading)
    floats = nmdeploy.load(source, input_format=exported.network.input.format, options=reading)
    met = with_expected(floats, nmdeploy.load_data(samples, floats), Expected(outputs))
    assert met.read_as is not None
    comparison = {
        "equal": True,
        "framework": f"Sinabs {SINABS_VERSION}, its outputs",
        "samples": len(test["inputs"]),
        "steps": test["inputs"].shape[1],
        "spikes": met.read_as.expected["values"],
        "differ": 0,
        "values_error": None,
    }
    return exported, floats, comparison


def _export_built(trained: Trained, test: Samples, folder: Path) -> tuple[Exported, Network, dict[str, Any]]:
    """Save what the network's file builds, export that, and compare it with the recurrence on the test samples."""
    net = named_object(_source(trained.name), str(trained.file(".pt"))).eval()
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
