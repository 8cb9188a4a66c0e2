"""Training of a model on the digits, quantization and a test run, for one row of `docs/models/results.json`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models_operations import step_operations

from nmdeploy import pipeline
from nmdeploy.analysis.report import Report
from nmdeploy.importers.checkpoint import read_checkpoint
from nmdeploy.models.catalog import neuron_models
from nmdeploy.network.network import Network, QuantizedNetwork

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "models"
FORMATS = pipeline.FormatOverrides(weight_bits=8, state_bits=24)
LEAST_ACCURACY = 0.80
MOST_APART = 0.01
# Rows beside the one of each model with its default options.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "fixed-refractory-ssm-emitted": ("fixed-refractory-ssm", {"refractory": "emitted"}),
    "windowed-ssm-3": ("windowed-ssm", {"window": 3}),
}


def rows() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the name of the model and the options of every row, by the row's name."""
    return dict(sorted(({name: (name, {}) for name in neuron_models()} | VARIANTS).items()))


def train_all(names: list[str]) -> None:
    """Train the rows that the cache does not have in current form, two at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(train, names))


def train(row: str) -> Path:
    """Return the checkpoint of a row, from the cache if its recipe is current, else trained into it on one thread."""
    model, options = rows()[row]
    checkpoint, curve = CACHE / f"{row}.safetensors", CACHE / f"{row}.json"
    if not (checkpoint.exists() and is_current(curve, recipe_of(model))):
        CACHE.mkdir(parents=True, exist_ok=True)
        given = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
        files = ["--out", str(checkpoint), "--curve", str(curve)]
        script = [sys.executable, str(ROOT / "examples" / "train_digits.py"), "--threads", "1"]
        command = [*script, "--model", model, *given, *files]
        subprocess.run(command, check=True)
    return checkpoint


def recipe_of(model: str) -> dict[str, Any]:
    """Return the present recipe of `examples/train_digits.py` for a model."""
    specification = importlib.util.spec_from_file_location("train_digits", ROOT / "examples" / "train_digits.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look up their module there
    specification.loader.exec_module(module)
    return asdict(module.RECIPES.get(model, module.Recipe()))


def is_current(curve: Path, recipe: Mapping[str, Any]) -> bool:
    """Return True if the learning curve in a file is that of a recipe; without one, the epochs are compared."""
    if not curve.exists():
        return False
    held = json.loads(curve.read_text("utf-8"))
    if "recipe" not in held:
        return bool(held["curve"][-1]["epoch"] == recipe["epochs"])
    return bool(held["recipe"] == recipe)


def measure(row: str) -> dict[str, Any]:
    """Measure accuracies, rates, operations and energy of a row's trained network on the test samples."""
    checkpoint = train(row)
    floats = read_checkpoint(checkpoint)
    calibration, test = (pipeline.load_data(CACHE / f"{row}{part}.npz", floats.input) for part in ("_calibration", ""))
    model = pipeline.quantize(floats, "loihi2", calibration, FORMATS)
    recording = pipeline.run(model, test)
    report = pipeline.report(model, test, floats=floats, recording=recording)
    trained = json.loads((CACHE / f"{row}.json").read_text("utf-8"))
    return {
        "model": rows()[row][0],
        "options": rows()[row][1],
        "parameters": trained["parameters"],
        "seconds": round(trained["seconds"], 1),
        "curve": trained["curve"],
        **_figures(report),
        "latency": recording.latency,
        "lookahead": [neuron.output_latency for neuron in model.populations.values()],
        "block_steps": model.timing.arrival_step["block1"] - model.timing.arrival_step["block0"],
        "neuron": step_operations(model.populations["block0"]),
        "measured": [*model.notes, *measured(row, floats, test)],
        "diagnosis": _diagnosis(floats, model, report, test),
    }


def measured(row: str, floats: Network, test: pipeline.Data) -> list[str]:
    """Return further notes on a trained network if its model has several meanings or approximations."""
    model = rows()[row][0]
    if model == "windowed-ssm":
        return list(pipeline.quantize(floats, "loihi2", test, FORMATS, "scaled").notes)
    if model in ("fixed-refractory-ssm", "spike-ssm", "spiking-ssm"):
        from models_measured import MEASURED

        return MEASURED[model](train(row), floats.input.format.dequantize(test.codes))
    return []


def _figures(report: Report) -> dict[str, Any]:
    total = report.total
    energy = None if total.energy_joules is None else total.energy_joules.total
    return {
        "float_accuracy": report.accuracy["float"],
        "quantized_accuracy": report.accuracy["quantized"],
        "spike_rate": None if total.activation_sparsity is None else 1.0 - total.activation_sparsity,
        "synaptic_operations": total.synaptic_operations,
        "synaptic_operations_computed": total.synaptic_operations_computed,
        "energy_nanojoules": None if energy is None else 1e9 * energy,
        "energy_source": total.energy_source,
    }


def is_marked(result: Mapping[str, Any]) -> bool:
    """Return True if a row misses the accuracy in float, or if the quantized accuracy is too far from it."""
    apart = abs(result["float_accuracy"] - result["quantized_accuracy"])
    return bool(result["float_accuracy"] < LEAST_ACCURACY or apart > MOST_APART)


def _diagnosis(floats: Network, model: QuantizedNetwork, report: Report, test: pipeline.Data) -> str:
    """Return, for a marked row, the share of spikes that quantization changed in each layer, and the saturations."""
    if not is_marked(_figures(report)):
        return ""
    agreement = pipeline.verify(model, test.first(50), (), floats).agreement or {}
    known = {name: layer.spike_agreement for name, layer in agreement.items()}
    changed = ", ".join(f"{name} {1 - share:.2%}" for name, share in known.items() if share is not None)
    clips = [f"{name} {flag} {n}" for name, flags in report.overflows.items() for flag, n in flags.items() if n]
    return f"spikes that quantization changed: {changed}; saturations: {', '.join(clips) or 'none'}"
