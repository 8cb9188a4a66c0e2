"""The sentences of a report, which the terminal and Markdown share: the result first, then its details by title."""

from __future__ import annotations

from collections.abc import Iterator

from nmdeploy.analysis.accuracy import accuracy_lines
from nmdeploy.analysis.report import Report
from nmdeploy.hardware.limits import Usage
from nmdeploy.reports.table import BITS_PER_KIB
from nmdeploy.reports.verification import agreement_lines, overflow_line, verdict_lines

PER_CORE = {
    "neurons": "neurons",
    "memory_bits": "memory",
    "synapse_bits": "memory of its synapses",
    "neuron_bits": "memory per neuron",
    "input_axons": "input axons",
    "output_axons": "output axons",
}


def headline(report: Report) -> Iterator[str]:
    """Yield the result: fit and cost, comparison with Lava, accuracy."""
    if report.fits:
        yield f"The network fits {report.profile}: {_cost(report)}"
    else:
        yield f"The network DOES NOT FIT {report.profile} ({_cost(report)}):"
        yield from report.problems
    verdicts = () if report.verification is None else verdict_lines(report.verification)
    yield from map(_sentence, (*verdicts, *accuracy_lines(report.accuracy)))
    if report.verification is None:
        yield "Not part of this report: the comparison with Lava (`nmdeploy verify`)"


def sections(report: Report) -> Iterator[tuple[str, list[str]]]:
    """Yield the details, each with its title."""
    yield f"Fullest core of {report.profile}, per resource", list(_core_lines(report))
    yield "Energy figures", report.total.energy_source.split("; ")
    yield "Scales of the integers", list(_scale_lines(report))
    if report.verification is not None and report.verification.agreement:
        yield (
            "Integers against the float network, on the samples compared",
            list(agreement_lines(report.verification.agreement)),
        )
    overflows = report.overflows if report.verification is None else report.verification.overflows
    yield "Overflows", [overflow_line(overflows).removeprefix("overflows: ")]
    if report.notes:
        yield "Notes", list(report.notes)


def _cost(report: Report) -> str:
    offered = next((row.limit for row in report.utilization if row.resource == "cores"), None)
    cores = f"{len(report.cores)} cores" if offered is None else f"{len(report.cores)} of {offered} cores"
    return f"{cores}, {_kib(report.total.footprint_bits)} KiB of memory, {_energy(report)}"


def _energy(report: Report) -> str:
    joules = report.total.energy_joules
    if joules is None or joules.total is None:
        return "energy not available"
    return f"{joules.total * 1e9:.2f} nJ {'of dynamic energy ' if joules.static is None else ''}per sample"


def _core_lines(report: Report) -> Iterator[str]:
    for resource, name in PER_CORE.items():
        held = [core.usage[resource] for core in report.cores if resource in core.usage]
        if held:
            fullest = max(held, key=lambda one: one.used)
            yield f"{name}: {_usage(fullest, in_kib=resource.endswith('_bits'))}"
    for row in report.utilization:
        if row.resource.endswith("(inserted delays)") and row.used:
            yield f"{row.resource.removesuffix(' (inserted delays)')} of inserted delays, on all cores: {row.used}"


def _scale_lines(report: Report) -> Iterator[str]:
    """Yield the scales of each population: the factor on its weights, and fraction bits by field of the model file."""
    for name, held in report.scales.items():
        bits = ", ".join(f"{field} {_span(ends, 'd')}" for field, ends in held.items() if field != "scale")
        yield f"{name}: weights times {_span(held['scale'], '.3g')}; fraction bits {bits}"


def _span(ends: tuple[float, float], form: str) -> str:
    low, high = (format(end, form) for end in ends)
    return low if low == high else f"{low} to {high}"


def _usage(usage: Usage, in_kib: bool) -> str:
    used, unit = (_kib(usage.used), " KiB") if in_kib else (str(usage.used), "")
    if usage.limit is None:
        return f"{used}{unit} (limit not published)"
    limit = _kib(usage.limit) if in_kib else str(usage.limit)
    share = usage.used / usage.limit
    return f"{used} of {limit}{unit} ({'under 0.1%' if 0 < share < 0.001 else f'{share:.1%}'})"


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:]


def _kib(bits: int) -> str:
    """Return KiB to two digits after the point, without zeros at the end."""
    return f"{bits / BITS_PER_KIB:.2f}".rstrip("0").rstrip(".")
