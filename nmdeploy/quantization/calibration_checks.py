"""Checks of the integers on the calibration data, for unstable poles and for approximate windows."""

from __future__ import annotations

from dataclasses import replace

from nmdeploy.analysis.comparison import accuracy, changed_spikes
from nmdeploy.analysis.metrics import saturated_share
from nmdeploy.backends.auto import run
from nmdeploy.errors import DoesNotFit
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.samples.source import Data

STATE_BITS_MAX = 24  # states of the chips that have a profile
BOUNDED = 0.1  # share of saturating state updates from which an unstable population counts as unbounded


def difference(exact: QuantizedNetwork, scaled: QuantizedNetwork, data: Data) -> list[str]:
    """Return notes on the changes that the approximate form of windows makes on the data."""
    one, two = (run(network, data.codes, lengths=data.lengths, trace="spikes") for network in (exact, scaled))
    changed, places = changed_spikes(one, two, exact.timing.hold_steps)
    share = changed / max(places, 1)
    notes = [f"scaled instead of exact windows change {share:.2%} of the spikes ({data.samples} samples)"]
    if data.labels is not None:
        shares = [accuracy(r.output, exact.readout, r.lengths, data.labels) for r in (one, two)]
        notes.append(f"accuracy with exact windows {shares[0]:.4f}, with scaled ones {shares[1]:.4f}")
    return notes


def require_bounded(network: QuantizedNetwork, data: Data) -> QuantizedNetwork:
    """Run populations with unstable poles on the data and note their saturations; `DoesNotFit` for more than 10 %."""
    unstable = [name for name, neuron in network.populations.items() if neuron.unstable]
    if not unstable:
        return network
    recording, notes = run(network, data.codes, lengths=data.lengths), []
    for name in unstable:
        counts = {flag: recording.total(name, flag) for flag in network.populations[name].flags}
        share, said = saturated_share(network, recording, name), sum(counts.values())
        if share > BOUNDED:
            bits = network.populations[name].state_bits
            wider = f"give more --state-bits (now {bits}), or " if bits < STATE_BITS_MAX else ""
            raise DoesNotFit(
                f"population {name!r}: its poles are unstable and {share:.1%} of its state updates saturate on the "
                f"calibration data, limit {BOUNDED:.0%}: {wider}train with poles inside the circle"
            )
        notes.append(
            f"population {name!r}: poles outside of the unit circle; on the calibration data ({data.samples} samples) "
            f"{said} saturations, {share:.2%} of the updates of the state that saturates most"
        )
    return replace(network, notes=(*network.notes, *notes))
