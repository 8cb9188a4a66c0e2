"""The table of layers, which the terminal and Markdown draw with the same cells."""

from __future__ import annotations

from nmdeploy.analysis.metrics import LayerMetrics
from nmdeploy.analysis.report import Report

BITS_PER_KIB = 8192
NOT_AVAILABLE = "not available"
HEADER = (
    "layer",
    "neurons",
    "synapses",
    "memory KiB",
    "spike rate",
    "synaptic ops",
    "computed ops",
    "dense ops",
    "neuron updates",
    "energy nJ",
)
LEGEND = (
    "Spike rate: spikes per neuron output and step. Synaptic ops: one per spike and synapse that it meets. "
    "Dense ops: one per synapse and step. Neuron updates: one per neuron and step."
)
LEGEND_COMPUTED = "Computed ops: synaptic ops, of which those that repeat within a window count once."


def caption(report: Report) -> str:
    """Return the sentence above the table: over which samples its means are."""
    return f"Operations, updates and energy are means per sample, over {report.samples} samples."


def table(report: Report) -> list[tuple[str, ...]]:
    """Return the header, one row per layer, and the total; counts are means per sample.

    Operations *computed* have a column if they differ from the synaptic operations: in models with windows.
    """
    layers = (*report.layers, report.total)
    everything = [HEADER, *(_cells(layer, report.rates.get(layer.name)) for layer in layers)]
    if _has_windows(report):
        return everything
    hidden = HEADER.index("computed ops")
    return [cells[:hidden] + cells[hidden + 1 :] for cells in everything]


def legend(report: Report) -> str:
    """Return the sentences below the table that say what a column counts."""
    return f"{LEGEND} {LEGEND_COMPUTED}" if _has_windows(report) else LEGEND


def _has_windows(report: Report) -> bool:
    layers = (*report.layers, report.total)
    return any(layer.synaptic_operations_computed != layer.synaptic_operations for layer in layers)


def _cells(layer: LayerMetrics, rate: float | None) -> tuple[str, ...]:
    if rate is None and layer.name == "total" and layer.activation_sparsity is not None:
        rate = 1.0 - layer.activation_sparsity
    energy = None if layer.energy_joules is None else layer.energy_joules.total
    return (
        layer.name,
        str(layer.neurons),
        str(layer.synapses),
        f"{layer.footprint_bits / BITS_PER_KIB:.2f}",
        "-" if rate is None else f"{rate:.4f}",
        f"{layer.synaptic_operations:.1f}",
        f"{layer.synaptic_operations_computed:.1f}",
        f"{layer.dense_synaptic_operations:.0f}",
        f"{layer.neuron_updates:.0f}",
        NOT_AVAILABLE if energy is None else f"{energy * 1e9:.2f}",
    )
