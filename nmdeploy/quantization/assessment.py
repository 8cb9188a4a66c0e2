"""Assessment of a quantized network for the user: effects of its losses, and warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.quantization.cautions import activity_warnings, distance_warnings, readout_snr, run_integers, unreached
from nmdeploy.quantization.effect_notes import loss_notes
from nmdeploy.quantization.effects import PopulationEffect, effects, samples_within
from nmdeploy.quantization.population_runs import record_arrivals
from nmdeploy.samples.source import Data


@dataclass(frozen=True)
class Assessment:
    """Effects of each population's losses, and a warning for each that is over its limit.

    ``snr_db`` is that of the readout on the calibration data; None without data, or if both networks are equal.
    """

    effects: tuple[PopulationEffect, ...]
    warnings: tuple[str, ...]
    snr_db: float | None = None


def assess(
    network: Network,
    quantized: QuantizedNetwork,
    data: Data | None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Assessment:
    """Assess the integers `quantized` of `network`, on the first calibration samples if there are some."""
    if data is None or not data.samples:
        found = effects(network, quantized, on_progress=on_progress)
        return Assessment(found, (*loss_notes(quantized, found), *unreached(quantized)))
    part = data.first(samples_within(network, data.samples, data.steps))
    arrivals = record_arrivals(network, network.input.format.dequantize(part.codes), part.lengths)
    found = effects(network, quantized, arrivals, on_progress)
    output, activity = run_integers(quantized, part.codes, part.lengths)
    # A readout of membranes is compared by `verify`, whose recording holds them.
    same = not quantized.reads_membrane
    snr_db = readout_snr(network, arrivals.output, quantized, output, part.lengths) if same else None
    warnings = [
        *loss_notes(quantized, found),
        *activity_warnings(quantized, activity, int(part.lengths.sum())),
        *distance_warnings(snr_db),
    ]
    return Assessment(found, tuple(warnings), snr_db)
