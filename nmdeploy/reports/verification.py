"""A verification as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nmdeploy.analysis.comparison import Agreement, Comparison, Verification


def overflow_line(overflows: Mapping[str, Mapping[str, int]]) -> str:
    """Return every count of overflows that is not zero, by layer and register."""
    found = [f"{layer}.{flag} {n}" for layer, counts in overflows.items() for flag, n in counts.items() if n]
    return f"overflows: {', '.join(found) or 'none'}"


def steps_text(samples: int, steps: int, valid_steps: int) -> str:
    """Return the steps of each of several samples, or of the longest."""
    return f"{steps} steps" if valid_steps == samples * steps else f"up to {steps} steps"


def accuracy_line(accuracy: Mapping[str, float | None]) -> str:
    """Return the accuracy of the integers, and that of the float network."""
    quantized, floats = accuracy["quantized"], accuracy["float"]
    if quantized is None:
        return "accuracy over all samples: not available (no labels)"
    of_floats = "not given" if floats is None else f"{floats:.4f}"
    return f"accuracy over all samples: {quantized:.4f} (float network: {of_floats})"


def verification_lines(verification: Verification) -> Iterator[str]:
    """Yield the lines that `nmdeploy verify` prints: the result first."""
    yield from verdict_lines(verification)
    yield accuracy_line(verification.accuracy)
    yield from (f"quantized against float, {line}" for line in agreement_lines(verification.agreement or {}))
    yield overflow_line(verification.overflows)


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
        f"{'DIFFERENT from' if c.mismatches else 'equal to'} {c.candidate}: "
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
