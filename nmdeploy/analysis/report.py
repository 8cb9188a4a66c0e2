"""The report: cost of a run by layer, utilization of the target, verification."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmdeploy._util.shown import Shown, Summary, counted
from nmdeploy.analysis.comparison import Verification, shown
from nmdeploy.analysis.energy import network_energy
from nmdeploy.analysis.metrics import LayerMetrics, layer_metrics, operations, overflows, spike_rate, total_metrics
from nmdeploy.errors import BadFile
from nmdeploy.hardware.mapping import Core, MappedNetwork, Row
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.job import Job
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.network.reading import Reading, reading_of
from nmdeploy.recording.types import Totals

SHOWN = (
    *("layer", "neurons", "synapses", "memory KiB", "spikes", "synaptic operations", "neuron updates"),
    "energy nJ",
)


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """The cost of a run, layer by layer.

    Parameters
    ----------
    profile, model : str
        Name of the target; SHA-256 of the model.
    samples : int
    layers, total : LayerMetrics
        Counts are means per sample.
    operations : mapping of str to float
        NeuroBench's synaptic operations of the network: Effective_MACs, Effective_ACs, Dense, means per sample.
    rates : mapping of str to float or None
        Spikes per neuron output and step, by layer.
    cores : tuple of Core
        The place of each neuron.
    utilization : tuple of Row
        How much of each limit is used.
    problems : tuple of str
        Everything that keeps the network from running on the target.
    scales : mapping of population to name to (smallest, largest)
        The factor on its weights ("scale") and the fraction bits of its integers ("frac_in", ...).
    overflows : mapping of layer to register to count, over all samples
    accuracy : mapping of "float", "float_rounded_input" and "quantized" to a fraction or None
        And of "interval" to their 95 % intervals: `nmdeploy.analysis.accuracy`.
    verification : Verification or None
    notes : tuple of str
        Notes of quantization and mapping.
    job : Job
        Model, target and samples, by digest.
    totals : Totals
        Sums over the samples, from which the figures follow; those of several runs can be added.
    read_as : Reading or None
        How the float network was read from its source.
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
    scales: Mapping[str, Mapping[str, tuple[float, float]]]
    overflows: Mapping[str, Mapping[str, int]]
    accuracy: Mapping[str, Any]
    verification: Verification | None
    notes: tuple[str, ...]
    job: Job
    totals: Totals
    read_as: Reading | None = None

    @property
    def fits(self) -> bool:
        """True if the target runs the network."""
        return not self.problems

    def summary(self) -> Summary:
        """Return what `repr` and a notebook show: a row per layer and the total, counts as means per sample."""
        verdict = "fits" if self.fits else f"does not fit: {self.problems[0]}"
        shares = {name: "not known" if share is None else f"{share:.4f}" for name, share in shown(self.accuracy)}
        facts = (
            f"{self.profile}: {verdict}",
            f"{counted(len(self.cores), 'core')}, energy {_nanojoules(self.total)} nJ per sample",
            counted(self.samples, "sample"),
            "accuracy " + ", ".join(f"{name} {share}" for name, share in shares.items()),
            "not verified" if self.verification is None else f"verification: {self.verification.status}",
        )
        return Summary("Report", facts, SHOWN, [_cells(layer) for layer in (*self.layers, self.total)])

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values; docs/formats.md has the JSON Schema."""
        return {
            "read_as": None if self.read_as is None else self.read_as.to_json(),
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
            "scales": {name: {key: list(ends) for key, ends in held.items()} for name, held in self.scales.items()},
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
            scales={name: {key: tuple(ends) for key, ends in held.items()} for name, held in values["scales"].items()},
            overflows=values["overflows"],
            accuracy=values["accuracy"],
            verification=None if verification is None else Verification.from_json(verification),
            notes=tuple(values["notes"]),
            job=Job.from_json(values["job"]),
            totals=Totals.from_json(values["totals"]),
            read_as=reading_of(values),
        )


def _cells(layer: LayerMetrics) -> tuple[object, ...]:
    counts = (layer.spikes, layer.synaptic_operations, layer.neuron_updates)
    memory = f"{layer.footprint_bits / 8192:,.2f}"
    return layer.name, layer.neurons, layer.synapses, memory, *(f"{n:,.1f}" for n in counts), _nanojoules(layer)


def _nanojoules(layer: LayerMetrics) -> str:
    joules = None if layer.energy_joules is None else layer.energy_joules.total
    return "not available" if joules is None else f"{joules * 1e9:,.2f}"


def read_report(path: str | Path) -> Report:
    """Read a report that was written as JSON; `BadFile` for anything else."""
    try:
        return Report.from_json(json.loads(Path(path).read_text("utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadFile(f"{path}: is not a report of nmdeploy ({type(error).__name__}: {error}): make it again") from None


def build_report(
    network: QuantizedNetwork,
    totals: Totals,
    profile: HardwareProfile,
    mapped: MappedNetwork,
    accuracy: Mapping[str, Any],
    job: Job,
    verification: Verification | None = None,
) -> Report:
    """Compute metrics and energy of a run on a target, from its sums."""
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
        scales={name: neuron.scales.ends() for name, neuron in network.populations.items()},
        overflows=overflows(network, totals),
        accuracy=accuracy,
        verification=verification,
        notes=(*network.notes, *mapped.notes),
        job=job,
        totals=totals,
        read_as=network.read_as,
    )
