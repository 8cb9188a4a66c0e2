"""A verification as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nmdeploy.analysis.comparison import Comparison, Verification


def overflow_line(overflows: Mapping[str, Mapping[str, int]]) -> str:
    """Every count of overflows that is not zero, by layer and register."""
    found = [f"{layer}.{flag} {n}" for layer, counts in overflows.items() for flag, n in counts.items() if n]
    return f"overflows: {', '.join(found) or 'none'}"


def steps_text(samples: int, steps: int, valid_steps: int) -> str:
    """Steps of each of several samples, or of the longest."""
    return f"{steps} steps" if valid_steps == samples * steps else f"up to {steps} steps"


def verification_lines(verification: Verification) -> Iterator[str]:
    """Lines for the terminal and the Markdown report."""
    yield verification.status
    for comparison in verification.comparisons:
        yield from _comparison(comparison)
    for name, share in verification.accuracy.items():
        yield f"accuracy {name}: " + ("not available" if share is None else f"{share:.4f}")
    for layer, agreement in (verification.agreement or {}).items():
        spikes, snr = agreement.spike_agreement, agreement.membrane_snr_db
        parts = [] if spikes is None else [f"spikes agree {spikes:.4f}"]
        parts += [] if snr is None else [f"membrane {snr:.1f} dB"]
        yield f"float against quantized, {layer}: {', '.join(parts) or 'identical'}"
    yield overflow_line(verification.overflows)


def _comparison(c: Comparison) -> Iterator[str]:
    steps = steps_text(c.samples, c.steps, c.valid_steps)
    yield (
        f"{c.reference} against {c.candidate}: {c.samples} samples, {steps}, "
        f"{c.values_compared} values compared, {c.mismatches} mismatches"
    )
    d = c.first_divergence
    if d is not None:
        state = "" if d.state is None else f", state {d.state}"
        yield (
            f"first divergence: sample {d.sample}, step {d.step}, layer {d.layer}, {d.kind} of neuron "
            f"{d.neuron}{state}: expected {d.expected}, got {d.actual}"
        )
