"""Facts that nothing said when the source was read, and that the state of the layers makes doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.beside import FAR_OFF
from nmdeploy.analysis.finding import CHANGED, ROUNDING, Finding
from nmdeploy.analysis.layer_states import FAR, NOTHING_ARRIVES, LayerState, populations_before
from nmdeploy.analysis.remedies import Option
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.network.reading import Fact, Reading, assumed

RATE_OFF = "rate off"
NO_INPUT = {f.SILENT, f.ALWAYS_SPIKES, NOTHING_ARRIVES}
OFF = {f.ALWAYS_SPIKES, FAR, RATE_OFF}
"""States that another reset would change: a layer that never spikes has none."""
DOUBTFUL = {
    "dt": {f.TAU_UNDER_DT, f.DECAY_OFF, f.OUT_OF_REACH, f.SILENT, f.ALWAYS_SPIKES},
    "decay": {f.TAU_UNDER_DT, f.DECAY_OFF},
    "format": NO_INPUT | {f.AT_LIMIT},
    "axes": NO_INPUT,
}
"""Faults and states that make an assumed property doubtful."""
OPTIONS = {
    "dt": Option("--dt", "the seconds per step of the training: the source does not hold them"),
    "decay": Option("--decay", "exponential, if the training computed exp(-dt/tau), or euler for 1 - dt/tau"),
    "format": Option("--input-bits", "the width of the inputs, with --input-frac: the source does not hold them"),
    "axes": Option("--axes", "the order of the data's axes, TNC or NCT, if they are not (samples, steps, channels)"),
}


@dataclass(frozen=True)
class Assumption:
    """An assumed fact: what it is of ("network", "input" or a population), the property, and its value in words."""

    object: str
    property: str
    value: str

    def to_json(self) -> dict[str, str]:
        """Return the fields as JSON values."""
        return asdict(self)


def assumptions(
    network: QuantizedNetwork, layers: Sequence[LayerState], findings: Sequence[Finding]
) -> tuple[tuple[Assumption, ...], tuple[Option, ...]]:
    """Return the doubtful facts, and the options that say them."""
    reading = network.read_as
    if reading is None:
        return (), ()
    shown = {layer.name: _shown(network, layer, findings) for layer in layers}
    everywhere = set().union(*shown.values())
    found = [
        Assumption(of, name, fact.value)
        for of, name, fact in assumed(reading)
        if name in DOUBTFUL and DOUBTFUL[name] & shown.get(of, everywhere)
    ]
    given = [OPTIONS[each.property] for each in found]
    resets = [Assumption(name, "reset", fact.value) for name, fact in _resets(network, reading, shown)]
    return (*resets, *found), (*_reset_options(network, resets, shown), *dict.fromkeys(given))


def _shown(network: QuantizedNetwork, layer: LayerState, findings: Sequence[Finding]) -> set[str]:
    """Return the state and the faults of a layer; none if the integers of it or of one before it explain them."""
    before = populations_before(network, layer.name)
    if any(each.origin in (CHANGED, ROUNDING) and each.population in before for each in findings):
        return set()
    shown = {layer.state, *(each.fault for each in findings if each.population == layer.name)}
    rate, expected = layer.rate, layer.float_rate
    off = rate is not None and expected is not None and abs(rate - expected) > FAR_OFF * expected
    return shown | {RATE_OFF} if off else shown


def _resets(network: QuantizedNetwork, reading: Reading, shown: dict[str, set[str]]) -> Iterator[tuple[str, Fact]]:
    """Yield the populations whose reset was assumed, if they or one that they lead to are off."""
    if reading.comparison or reading.expected:
        return  # the outputs are those of the framework
    off = {name for name, states in shown.items() if states & (OFF | NO_INPUT | {f.OUT_OF_REACH})}
    doubtful = {before for name in off for before in populations_before(network, name)}
    for name, facts in reading.populations.items():
        fact = facts.get("reset")
        if name in doubtful and fact is not None and network.populations[name].spiking and fact.by == "assumed":
            yield name, fact


def _reset_options(
    network: QuantizedNetwork, resets: Sequence[Assumption], shown: dict[str, set[str]]
) -> Iterator[Option]:
    if not resets:
        return
    named = ", ".join(each.object for each in resets)
    yield Option(
        "--from",
        "snntorch, sinabs, rockpool or spikingjelly, if one of them wrote the source: their reset, comparison at the "
        f"threshold and gain are others than those assumed of {named}",
    )
    if any(f.SILENT not in shown[each.object] for each in resets):
        yield Option("--reset", f"subtract, if the training subtracted the threshold: a spike resets {named} otherwise")
