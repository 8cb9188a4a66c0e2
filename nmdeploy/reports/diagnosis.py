"""A diagnosis as text: the state of each layer, the findings and the options, each in the order of importance."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from nmdeploy.analysis.diagnosis import Diagnosis
from nmdeploy.analysis.finding import Finding
from nmdeploy.analysis.layer_states import LayerState

HEADER = ("layer", "state", "spike rate", "float's", "difference", "at limits")
WIDTH = 100


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the lines that `nmdeploy diagnose` prints."""
    yield headline(diagnosis)
    yield ""
    yield from _columns([HEADER, *(_cells(layer) for layer in diagnosis.layers)])
    if diagnosis.compared:
        yield "Difference: of each layer, on the inputs that the float network sends to it."
    for number, found in enumerate(diagnosis.findings, 1):
        yield ""
        yield f"{number}. {found.population}: {found.fault} ({found.tensor})"
        yield from _wrapped(found.text)
        yield from _wrapped(_restored(found))
    if diagnosis.assumed:
        yield ""
        yield "Assumed when the source was read, and doubtful now:"
        for each in diagnosis.assumed:
            yield from _wrapped(f"{each.object}: {each.property} {each.value}", "  - ", "    ")
    if diagnosis.options:
        yield ""
        yield "This would help, most helpful first:"
        for option in diagnosis.options:
            yield from _wrapped(f"{option.option}: {option.text}" if option.option else option.text, "  - ", "    ")


def headline(diagnosis: Diagnosis) -> str:
    """Return the result in one sentence."""
    basis = "compared with the float network" if diagnosis.compared else "from the integers alone"
    where = f"{diagnosis.samples} samples, {diagnosis.steps} steps, {basis}"
    if not diagnosis.findings:
        return f"nothing to name: no layer is silent, saturated or far off ({where})"
    first = diagnosis.findings[0]
    count = len(diagnosis.findings)
    return f"{count} finding{'s' if count > 1 else ''}, first {first.population!r}: {first.fault} ({where})"


def _restored(found: Finding) -> str:
    if not found.spikes or found.spikes < 0:
        return ""
    return f"With the source's numbers in this tensor, {found.spikes} spikes fewer differ from the float network."


def _cells(layer: LayerState) -> tuple[str, ...]:
    rates = ("-" if rate is None else f"{rate:.4f}" for rate in (layer.rate, layer.float_rate))
    difference = "-" if layer.difference is None else f"{layer.difference:.1%}"
    limits = ", ".join(f"{name} {count}" for name, count in layer.limits.items()) or "0"
    return (layer.name, layer.state, *rates, difference, limits)


def _columns(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table, its header underlined; numbers are right-aligned."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if 2 <= index <= 4 else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def _wrapped(text: str, first: str = "   ", rest: str = "   ") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
