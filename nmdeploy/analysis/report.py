"""The report: cost of a run by layer, utilization of the target, verification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nmdeploy.analysis.comparison import Verification
from nmdeploy.analysis.energy import network_energy
from nmdeploy.analysis.metrics import LayerMetrics, layer_metrics, operations, overflows, spike_rate, total_metrics
from nmdeploy.hardware.mapping import MappedNetwork
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Counted


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
            "verification": None if self.verification is None else self.verification.to_json(),
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
