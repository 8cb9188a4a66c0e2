"""The table that the terminal and Markdown show: the same cells, drawn differently."""

from __future__ import annotations

from collections.abc import Iterator

from nmdeploy.analysis.metrics import LayerMetrics
from nmdeploy.analysis.report import Report
from nmdeploy.reports.verification import overflow_line, verification_lines

NOT_AVAILABLE = "not available"
HEADER = (
    "layer",
    "neurons",
    "synapses",
    "memory/bit",
    "rate",
    "syn. ops",
    "computed",
    "dense ops",
    "updates",
    "energy/nJ",
)


def table(report: Report) -> list[tuple[str, ...]]:
    """The header, then one row a layer, and the total; counts a sample.

    Operations *computed* have a column where they differ from the synaptic operations: in models with windows.
    """
    layers = (*report.layers, report.total)
    everything = [HEADER, *(_cells(layer, report.rates.get(layer.name)) for layer in layers)]
    if any(layer.synaptic_operations_computed != layer.synaptic_operations for layer in layers):
        return everything
    hidden = HEADER.index("computed")
    return [cells[:hidden] + cells[hidden + 1 :] for cells in everything]


def _cells(layer: LayerMetrics, rate: float | None) -> tuple[str, ...]:
    if rate is None and layer.name == "total" and layer.activation_sparsity is not None:
        rate = 1.0 - layer.activation_sparsity
    energy = None if layer.energy_joules is None else layer.energy_joules.total
    return (
        layer.name,
        str(layer.neurons),
        str(layer.synapses),
        str(layer.footprint_bits),
        "-" if rate is None else f"{rate:.4f}",
        f"{layer.synaptic_operations:.1f}",
        f"{layer.synaptic_operations_computed:.1f}",
        f"{layer.dense_synaptic_operations:.0f}",
        f"{layer.neuron_updates:.0f}",
        NOT_AVAILABLE if energy is None else f"{energy * 1e9:.2f}",
    )


def lines(report: Report) -> Iterator[str]:
    """What stands below the table."""
    yield f"energy: {report.total.energy_source}"
    yield from (
        f"{row.resource}: {row.used}" + (" (limit not published)" if row.limit is None else f" of {row.limit}")
        for row in report.utilization
    )
    yield "fits: yes" if report.fits else "fits: NO"
    yield from report.problems
    if report.verification is not None:
        yield from (f"verification: {line}" for line in verification_lines(report.verification))
    else:
        for name, share in report.accuracy.items():
            yield f"accuracy {name}: " + (NOT_AVAILABLE if share is None else f"{share:.4f}")
        yield overflow_line(report.overflows)
    yield from (f"note: {note}" for note in report.notes)
