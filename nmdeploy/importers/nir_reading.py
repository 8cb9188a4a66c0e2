"""The reading of a NIR file: its facts in the words of NIR, and notes on what its framework may have meant."""

from __future__ import annotations

from collections.abc import Iterator

from nmdeploy.importers.frameworks import Values
from nmdeploy.importers.meaning import Meaning
from nmdeploy.importers.nir_time import TAUS, Nodes, doubt, is_round, rockpool_dt
from nmdeploy.importers.readings import loops_words, readout_words, with_reading
from nmdeploy.network.network import Network
from nmdeploy.network.reading import By, Fact, describe_format
from nmdeploy.neurons.described import comparison, span

SPIKING = ("CubaLIF", "IF", "LIF")
RESETS = {
    "zero": "to {v_reset} in the same step",
    "zero-delayed": "to {v_reset}, for the next step too",
    "subtract": "{amount} is subtracted in the same step",
    "subtract-delayed": "{amount} is subtracted in the next step",
    "none": "none",
}
FRACTION = {"euler": "1 - dt/tau", "exponential": "exp(-dt/tau)"}
DEFAULTS = (
    "a spike sets the membrane to v_reset in the same step, as NIR says. Other defaults are written alike: snnTorch "
    "subtracts the threshold one step late, Sinabs and Rockpool subtract it and spike at >=, spikingjelly spikes "
    "at >=: if one of them wrote the file, give --from snntorch|sinabs|rockpool|spikingjelly, or else --reset RULE"
)


def read_as(network: Network, source: str, how: Meaning, nodes: Nodes, delays: bool, input_by: By) -> Network:
    """Return the network with the reading of the file that it came from.

    Parameters
    ----------
    nodes : mapping of population to (type, values)
        Populations of the file.
    delays : bool
        True if the file has Delay nodes; without any, the delay of a loop is assumed.
    input_by : {"assumed", "option"}
        By what the input's format is known.
    """
    o = how.options
    loops, waits = loops_words(network)
    whole = {
        "dt": Fact(f"{how.dt:g} s", how.dt_by),
        "readout": Fact(readout_words(network), "assumed" if o.readout is None else "option"),
        "loops": Fact(loops, "source" if delays or loops == "none" else "assumed"),
        "delays": Fact(waits, "source"),
    }
    codes = {"format": Fact(describe_format(network.input.format), input_by)}
    populations = {name: dict(_facts(name, *nodes[name], how)) for name in network.populations if name in nodes}
    said_all = tuple(notes(how, nodes))
    return with_reading(network, source, "source", o, whole, codes, populations, said_all, doubt(how, nodes))


def _facts(name: str, kind: str, p: Values, how: Meaning) -> Iterator[tuple[str, Fact]]:
    yield "neuron", Fact(kind, "source")
    if kind in SPIKING:
        held = {key: span(p[key]) for key in ("v_reset", "v_threshold")}
        amount = span(p["v_threshold"] - p["v_reset"])
        start = how.start(p)
        text = RESETS[how.reset(name)].format(**held, amount=amount) + (
            f", starts at {span(start)}" * bool(start.any())
        )
        yield "reset", Fact(text, how.reset_by(name))
        yield "threshold", Fact(comparison(p["v_threshold"], how.at_threshold), how.at_threshold_by)
    taus = [key for key in TAUS if key in p]
    if taus:
        yield "decay", Fact("; ".join(_decay(key, p, how) for key in taus), how.decay_by)
    else:
        yield "decay", Fact("none", "source")


def _decay(key: str, p: Values, how: Meaning) -> str:
    kept = 1 - how.share(how.time_scale * p[key])
    state = "current" if key == "tau_syn" else "membrane"
    scaled = "" if how.time_scale == 1 else f" ({key} in the file is multiplied by dt)"
    return f"{state} keeps {span(kept)} per step = {FRACTION[how.decay].replace('tau', key)}{scaled}"


def notes(how: Meaning, nodes: Nodes) -> Iterator[str]:
    """Yield what the framework that wrote a file may have meant, a line each."""
    spiking = [name for name, (kind, _) in nodes.items() if kind in SPIKING]
    if how.framework is None and any(how.options.reset_of(name) is None for name in spiking):
        yield DEFAULTS
    if how.framework is None:
        yield from _written_wrong(nodes)
    if how.options.framework == "snntorch":
        zero = [name for name in spiking if how.reset(name) == "zero"]
        if zero:
            yield (
                f"node {zero[0]!r}: --reset zero acts in the same step. Without reset_delay=False, Synaptic and "
                "recurrent neurons of snnTorch also lose what arrives in the next step: --reset zero-delayed"
            )
    unscaled = [name for name, (kind, p) in nodes.items() if kind == "LIF" and (p["r"] == 1).all()]
    if how.options.framework == "sinabs" and unscaled:
        yield (
            f"node {unscaled[0]!r}: r = 1, as Sinabs writes every LIF: it is read with norm_input=True, at most one "
            "spike per step, and without tau_syn and min_v_mem, which the file does not say: --expect compares outputs"
        )


def _written_wrong(nodes: Nodes) -> Iterator[str]:
    """Yield what the content of a file shows of an exporter that does not write what its framework computes."""
    bare = [n for n, (kind, p) in nodes.items() if kind == "CubaLIF" and (p["w_in"] == 1).all() and (p["r"] == 1).all()]
    if bare:
        yield (
            f"node {bare[0]!r}: w_in = 1 and r = 1, as Norse writes its LIFCell, which adds inputs to the current "
            "undivided: for a file of Norse give --from norse, or set w_in = tau_syn / dt"
        )
    resistances = [p["r"] for kind, p in nodes.values() if kind in ("LIF", "CubaLIF", "LI")]
    dt = rockpool_dt({n: held for n, held in nodes.items() if held[0] != "IF"})
    if dt is not None and is_round(dt) and any((r != 1).any() for r in resistances):
        yield (
            f"r = tau exp(-dt / tau) / dt with dt = {dt:g} s, as Rockpool writes its exponential decays: for a file of "
            "Rockpool give --from rockpool"
        )
