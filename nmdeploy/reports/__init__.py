"""Reports: one type, and one file a format.

A format module has ``SUFFIX``, the file name's ending that chooses it (None: the terminal), and
``render(report) -> str``. A third party registers a module under the entry point group ``nmdeploy.reports``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nmdeploy._util.atomic_files import write_text
from nmdeploy._util.plugins import modules
from nmdeploy.analysis.comparison import Verification
from nmdeploy.analysis.energy import network_energy
from nmdeploy.analysis.metrics import LayerMetrics, layer_metrics, operations, overflows, spike_rate, total_metrics
from nmdeploy.errors import BadOption
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Counted
from nmdeploy.reports.verification import verification_json

if TYPE_CHECKING:
    from nmdeploy.hardware.mapping import MappedNetwork
    from nmdeploy.hardware.profile import HardwareProfile


@dataclass(frozen=True)
class Report:
    """What a run cost, layer by layer.

    Parameters
    ----------
    profile, model : str
        Name of the target; SHA-256 of the model.
    samples : int
    layers, total : LayerMetrics
        Counts are means a sample.
    operations : mapping of str to float
        NeuroBench's synaptic operations of the network: Effective_MACs, Effective_ACs, Dense, means a sample.
    rates : mapping of str to float or None
        Spikes a neuron and step, by layer.
    mapped : MappedNetwork
    overflows : mapping of layer to register to count, over all samples
    accuracy : mapping of "float" and "quantized" to a fraction or None
    verification : Verification or None
    notes : tuple of str
        What quantization and mapping had to say.
    """

    profile: str
    model: str
    samples: int
    layers: tuple[LayerMetrics, ...]
    total: LayerMetrics
    operations: Mapping[str, float]
    rates: Mapping[str, float | None]
    mapped: MappedNetwork
    overflows: Mapping[str, Mapping[str, int]]
    accuracy: Mapping[str, float | None]
    verification: Verification | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """docs/formats.md has the JSON Schema."""
        return {
            "profile": self.profile,
            "model": self.model,
            "samples": self.samples,
            "layers": [layer.to_json() | {"spike_rate": self.rates[layer.name]} for layer in self.layers],
            "total": self.total.to_json(),
            "operations": dict(self.operations),
            "cores": [core.to_json() for core in self.mapped.cores],
            "utilization": [row._asdict() for row in self.mapped.utilization()],
            "fits": self.mapped.fits,
            "problems": list(self.mapped.problems),
            "accuracy": dict(self.accuracy),
            "overflows": {name: dict(counts) for name, counts in self.overflows.items()},
            "verification": None if self.verification is None else verification_json(self.verification),
            "notes": list(self.notes),
        }


def build_report(
    network: QuantizedNetwork,
    recording: Counted,
    profile: HardwareProfile,
    mapped: MappedNetwork,
    accuracy: Mapping[str, float | None],
    verification: Verification | None = None,
) -> Report:
    """Metrics and energy of a run on a target."""
    energies = network_energy(network, recording, mapped, profile)
    layers = layer_metrics(network, recording, energies)
    return Report(
        profile=profile.name,
        model=recording.model_sha256,
        samples=recording.samples,
        layers=layers,
        total=total_metrics(network, recording, layers, energies),
        operations=operations(network, recording),
        rates={layer.name: spike_rate(network, recording, layer.name) for layer in layers},
        mapped=mapped,
        overflows=overflows(network, recording),
        accuracy=accuracy,
        verification=verification,
        notes=(*network.notes, *mapped.notes),
    )


def formats() -> dict[str | None, ModuleType]:
    """Format modules by suffix."""
    return {module.SUFFIX: module for module in modules(__name__) if hasattr(module, "SUFFIX")}


def writer_for(path: str | Path | None) -> ModuleType:
    """The format module for a path, by its suffix; None for the terminal."""
    suffix = None if path is None else Path(path).suffix
    if suffix not in formats():
        known = ", ".join(sorted(s for s in formats() if s))
        raise BadOption(f"{path}: reports of type {suffix!r} do not exist: end the name in one of {known}")
    return formats()[suffix]


def emit(report: Report, path: str | Path | None = None) -> None:
    """Write a report to a file, or print it."""
    text = writer_for(path).render(report)
    if path is None:
        print(text, end="")
    else:
        write_text(path, text)
