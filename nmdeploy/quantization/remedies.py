"""Remedies of a weight exponent that no chip holds, by the limit that bound the fraction bits of the sum.

`tests/quantization/test_remedies.py` follows each of them.
"""

from __future__ import annotations

from nmdeploy.neurons.scales import Scales, binding

REMEDIES = {
    "membrane": "its membrane grows too large beside the weights: choose shorter time constants or a larger --dt",
    "threshold": "its threshold is too large beside the weights: lower it or raise the weights",
    "bias": "its bias is too large beside the weights: lower it or raise the weights",
    "proof": "its weights are of too many inputs for 32 bits: lower the fan-in",
    "synaptic sum": "its weights are of too many inputs for 32 bits: lower the fan-in",
    "states": "its states are too large beside the weights: choose faster poles or a larger --dt",
}
"""Remedies by the name of the limit."""


def exponent_remedy(scales: Scales) -> str:
    """Return what brings the weight exponent back into its range.

    A membrane that bounds the scale is its threshold, if that alone would allow at most one bit more.
    """
    table = {limit.name: limit for limit in scales.limits.get("frac_in", ())}
    if not table:
        return "choose the scales again, or rescale the weights"
    name = binding(list(table.values())).name
    if name == "membrane" and "threshold" in table and table["threshold"].most <= table["membrane"].most + 1:
        name = "threshold"
    return REMEDIES.get(name, "rescale the weights")
