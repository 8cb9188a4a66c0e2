"""The report: cost of a run by layer, utilization of the target, verification."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmdeploy.analysis.comparison import Verification
from nmdeploy.analysis.energy import network_energy
from nmdeploy.analysis.metrics import LayerMetrics, layer_metrics, operations, overflows, spike_rate, total_metrics
from nmdeploy.errors import BadFile
from nmdeploy.hardware.mapping import Core, MappedNetwork, Row
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.job import Job
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Totals


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
    cores : tuple of Core
        Where each neuron lies.
    utilization : tuple of Row
        What is used of each limit.
    problems : tuple of str
        What keeps the network from running on the target.
    overflows : mapping of layer to register to count, over all samples
    accuracy : mapping of "float" and "quantized" to a fraction or None
    verification : Verification or None
    notes : tuple of str
        Notes of quantization and mapping.
    job : Job
        Model, target and samples, by digest.
    totals : Totals
        Sums over the samples, from which the figures follow; those of several runs can be added.
    """

    profile: str
    model: str
    samples: int
    layers: tuple[LayerMetrics, ...]
    total: LayerMetrics
    operations: Mapping[str, float]
    rates: Mapping[str, float | None]
    cores: tuple[Core, ...]
    utilization: tuple[Row, ...]
    problems: tuple[str, ...]
    overflows: Mapping[str, Mapping[str, int]]
    accuracy: Mapping[str, float | None]
    verification: Verification | None
    notes: tuple[str, ...]
    job: Job
    totals: Totals

    @property
    def fits(self) -> bool:
        """True if the target runs the network."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """docs/formats.md has the JSON Schema."""
        return {
            "profile": self.profile,
            "model": self.model,
            "samples": self.samples,
            "layers": [layer.to_json() | {"spike_rate": self.rates[layer.name]} for layer in self.layers],
            "total": self.total.to_json(),
            "operations": dict(self.operations),
            "cores": [core.to_json() for core in self.cores],
            "utilization": [row._asdict() for row in self.utilization],
            "fits": self.fits,
            "problems": list(self.problems),
            "accuracy": dict(self.accuracy),
            "overflows": {name: dict(counts) for name, counts in self.overflows.items()},
            "verification": None if self.verification is None else self.verification.to_json(),
            "notes": list(self.notes),
            "job": self.job.to_json(),
            "totals": self.totals.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Report:
        """Return the report that `to_json` described."""
        verification = values["verification"]
        return cls(
            profile=values["profile"],
            model=values["model"],
            samples=values["samples"],
            layers=tuple(map(LayerMetrics.from_json, values["layers"])),
            total=LayerMetrics.from_json(values["total"]),
            operations=values["operations"],
            rates={layer["name"]: layer["spike_rate"] for layer in values["layers"]},
            cores=tuple(map(Core.from_json, values["cores"])),
            utilization=tuple(Row(**row) for row in values["utilization"]),
            problems=tuple(values["problems"]),
            overflows=values["overflows"],
            accuracy=values["accuracy"],
            verification=None if verification is None else Verification.from_json(verification),
            notes=tuple(values["notes"]),
            job=Job.from_json(values["job"]),
            totals=Totals.from_json(values["totals"]),
        )


def read_report(path: str | Path) -> Report:
    """Read a report that was written as JSON; `BadFile` for anything else."""
    try:
        return Report.from_json(json.loads(Path(path).read_text("utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadFile(f"{path}: is no report of nmdeploy ({type(error).__name__}: {error}): make it again") from None


def build_report(
    network: QuantizedNetwork,
    totals: Totals,
    profile: HardwareProfile,
    mapped: MappedNetwork,
    accuracy: Mapping[str, float | None],
    job: Job,
    verification: Verification | None = None,
) -> Report:
    """Metrics and energy of a run on a target, from its sums."""
    energies = network_energy(network, totals, mapped, profile)
    layers = layer_metrics(network, totals, energies)
    return Report(
        profile=profile.name,
        model=totals.model_sha256,
        samples=totals.samples,
        layers=layers,
        total=total_metrics(network, totals, layers, energies),
        operations=operations(network, totals),
        rates={layer.name: spike_rate(network, totals, layer.name) for layer in layers},
        cores=mapped.cores,
        utilization=tuple(mapped.utilization()),
        problems=mapped.problems,
        overflows=overflows(network, totals),
        accuracy=accuracy,
        verification=verification,
        notes=(*network.notes, *mapped.notes),
        job=job,
        totals=totals,
    )
