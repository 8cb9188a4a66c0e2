"""A verification as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nmdeploy.analysis.accuracy import accuracy_lines
from nmdeploy.analysis.comparison import Agreement, Comparison, Verification
from nmdeploy.network.reading import Reading

NAMES = {"lava": "Lava"}  # of backends, in sentences


def overflow_line(overflows: Mapping[str, Mapping[str, int]]) -> str:
    """Return every count of overflows that is not zero, by layer and register."""
    found = [f"{layer}.{flag} {n}" for layer, counts in overflows.items() for flag, n in counts.items() if n]
    return f"overflows: {', '.join(found) or 'none'}"


def steps_text(samples: int, steps: int, valid_steps: int) -> str:
    """Return the steps of each of several samples, or of the longest."""
    return f"{steps} steps" if valid_steps == samples * steps else f"up to {steps} steps"


def verification_lines(verification: Verification) -> Iterator[str]:
    """Yield the lines that `nmdeploy verify` prints: the result first."""
    yield from verdict_lines(verification)
    yield from reading_lines(verification.read_as)
    yield from accuracy_lines(verification.accuracy)
    yield from (f"quantized against float, {line}" for line in agreement_lines(verification.agreement or {}))
    yield overflow_line(verification.overflows)
    yield from (f"warning: {line}" for line in verification.warnings)


def import_lines(reading: Reading | None) -> Iterator[str]:
    """Yield how a network was compared with its source when it was read; nothing if it was not."""
    if reading is None:
        return
    if found := reading.comparison:
        yield found["line"]
        differ, margin = found["float32_differ"], found["float32_margin"]
        more = f", first differences within {margin:.1g} of the threshold" if differ else ""
        yield f"import: both in float32: {differ:,} of {found['spikes']:,} spikes differ{more}"
        if found["silent"]:
            yield f"import: {', '.join(found['silent'])} did not spike: give samples on which they do (--data)"
    if reading.expected:
        yield reading.expected["line"]


def reading_lines(reading: Reading | None) -> list[str]:
    """Return the block that says how the float network was read, and what makes that doubtful."""
    if reading is None:
        return []
    return [*reading.lines(), *([] if reading.doubt is None else [f"note: {reading.doubt}"])]


def verdict_lines(verification: Verification) -> Iterator[str]:
    """Yield the result of each comparison, and why Lava is missing if it could not run."""
    if verification.not_verified is not None or not verification.comparisons:
        yield verification.status
    for comparison in verification.comparisons:
        yield from _verdict(comparison)


def agreement_lines(agreement: Mapping[str, Agreement]) -> Iterator[str]:
    """Yield how far each layer of the integer network agrees with the float one."""
    for layer, held in agreement.items():
        outputs, snr = held.spike_agreement, held.membrane_snr_db
        parts = [] if outputs is None else [f"{outputs:.4f} of outputs equal"]
        parts += [] if snr is None else [f"membrane signal-to-noise {snr:.1f} dB"]
        yield f"{layer}: {', '.join(parts) or 'identical'}"


def _verdict(c: Comparison) -> Iterator[str]:
    steps = steps_text(c.samples, c.steps, c.valid_steps)
    yield (
        f"integers against {NAMES.get(c.candidate, c.candidate)}: {'DIFFERENT' if c.mismatches else 'equal'}, "
        f"{c.samples} samples, {steps}, {c.values_compared} values compared (every spike and state), "
        f"{c.mismatches} mismatches"
    )
    d = c.first_divergence
    if d is not None:
        state = "" if d.state is None else f", state {d.state}"
        yield (
            f"first divergence: sample {d.sample}, step {d.step}, layer {d.layer}, {d.kind} of neuron "
            f"{d.neuron}{state}: expected {d.expected}, got {d.actual}"
        )
