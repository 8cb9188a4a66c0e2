"""Builder of a Lava network from a model file."""
# mypy: disable-error-code="import-not-found,import-untyped"

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2SimCfg, RunConfig
from lava.proc.io.source import RingBuffer

from nmdeploy.lava.model_file import read_model
from nmdeploy.lava.periodic import NEVER
from nmdeploy.lava.populations import make_population
from nmdeploy.lava.synapses import make_bias, make_delay, make_gate, make_synapse
from nmdeploy.lava.topology import Connection, connections, depths, inserted_delay
from nmdeploy.lava.trace import Trace


@dataclass(frozen=True)
class LavaNetwork:
    """Connected Lava Processes of a model, without its input.

    Attributes
    ----------
    processes : dict of str to AbstractProcess
        By node name; what alignment adds is named after its edge.
    inputs : tuple of InPort
        Ports that expect the network's input, one vector (channels,) in every step.
    channels : int
        Size of the input.
    depth : dict of str to int
        Of each population. Its step t is Lava's time step ``t + depth + 1``.
    output : str
        Name of the output population.
    steps : int
        Steps of a sample; samples follow each other without a gap.
    traces : dict of str to Trace
        Recordings by population; empty unless `build` was asked for them.
    """

    processes: dict[str, AbstractProcess]
    inputs: tuple[InPort, ...]
    channels: int
    depth: dict[str, int]
    output: str
    steps: int
    traces: dict[str, Trace]

    @property
    def latency(self) -> int:
        """Depth of the output population, in steps."""
        return self.depth[self.output]

    def connect_input(self, source: OutPort) -> None:
        """Feed the network from `source`, which sends step t of the input in Lava's time step t + 1."""
        for port in self.inputs:
            source.connect(port)

    @staticmethod
    def run_config() -> RunConfig:
        """Run configuration that selects the integer ProcessModels."""
        return Loihi2SimCfg(select_tag="fixed_pt")


def build(
    path: str | Path, *, steps: int | None = None, samples: int = 1, record: str | None = None, folder: str | Path = "."
) -> LavaNetwork:
    """Build the Lava Processes of a model file and connect them.

    Parameters
    ----------
    path : str or Path
        Model file that ``nmdeploy export`` wrote.
    steps : int, optional
        Steps of a sample: every population is reset when its next sample begins. None: one sample without end.
    samples : int
        Number of samples to record.
    record : {'spikes', 'states'}, optional
        Record spikes (of integrators, v), or all registers too, into files in `folder`. Needs `steps`.
    folder : str or Path
        Where the recordings go.

    Returns
    -------
    LavaNetwork
        Ready for ``connect_input(source.s_out)`` and ``run(...)`` with ``run_config()``.

    Raises
    ------
    ValueError
        The file is no model file, or the network cannot be run in Lava; the message names the node or the edge.

    Examples
    --------
    >>> network = build("model.nir", steps=100)                                 # doctest: +SKIP
    >>> network.connect_input(RingBuffer(data=spikes).s_out)                    # doctest: +SKIP
    >>> network.processes[network.output].run(RunSteps(100), LavaNetwork.run_config())   # doctest: +SKIP
    """
    model = read_model(path)
    nodes = model["nodes"]
    links = connections(nodes, model["edges"])
    depth = depths(nodes, links)
    if model["output"] not in depth:
        raise ValueError(f"{path}: the output {model['output']!r} is no population")
    interval = NEVER if steps is None else steps
    traces = _traces(nodes, depth, interval * samples, record, folder)
    processes = {
        name: make_population(name, nodes[name], interval, depth[name] + 1, traces.get(name))
        for name in depth
        if nodes[name]["kind"] != "input"
    }
    inputs = _wire(processes, nodes, links, depth, interval)
    channels = [int(np.prod(node["shape"])) for node in nodes.values() if node["kind"] == "input"]
    if len(channels) != 1:
        raise ValueError(f"{path}: {len(channels)} inputs; a Lava network has one")
    return LavaNetwork(processes, tuple(inputs), channels[0], depth, model["output"], interval, traces)


def _traces(
    nodes: dict[str, Any], depth: dict[str, int], rows: int, record: str | None, folder: str | Path
) -> dict[str, Trace]:
    if record is None:
        return {}
    kept: dict[str, dict[str, tuple[str, ...]]] = {
        "lif": {"spikes": ("spikes",), "states": ("spikes", "u", "v")},
        "state_space": {"spikes": ("spikes",), "states": ("spikes", "re", "im", "y")},
        "integrator": {"spikes": ("v",), "states": ("v",)},
    }
    populations = [name for name in depth if nodes[name]["kind"] != "input"]
    return {
        name: Trace(f"{folder}/{index}", kept[nodes[name]["kind"]][record], depth[name] + 1, rows)
        for index, name in enumerate(populations)
    }


def _wire(
    processes: dict[str, AbstractProcess],
    nodes: dict[str, Any],
    links: list[Connection],
    depth: dict[str, int],
    interval: int,
) -> list[InPort]:
    """Add synapses, biases, delays and gates to `processes` and connect all; returns the ports for the input."""
    inputs = []
    ones = RingBuffer(data=np.ones((1, 1), np.int32))
    for synapse in dict.fromkeys(link.synapse for link in links):
        incoming = [link for link in links if link.synapse == synapse]
        process = make_synapse(synapse, nodes[synapse], [nodes[link.source] for link in incoming])
        processes[synapse] = process
        target = processes[incoming[0].target].a_in
        process.a_out.connect(target)
        if nodes[synapse].get("bias") is not None:
            processes[f"{synapse}.bias"] = bias = make_bias(f"{synapse}.bias", nodes[synapse])
            ones.s_out.connect(bias.s_in)
            bias.a_out.connect(target)
        for link in incoming:
            port = _align(processes, link, process.s_in, depth, interval)
            if nodes[link.source]["kind"] == "input":
                inputs.append(port)
            else:
                processes[link.source].s_out.connect(port)
    return inputs


def _align(
    processes: dict[str, AbstractProcess], link: Connection, port: InPort, depth: dict[str, int], interval: int
) -> InPort:
    """Put the delay and the gate that `link` needs in front of `port`; returns the port that takes their place."""
    label = f"{link.source}->{link.synapse}"
    extra = inserted_delay(link, depth)
    if extra:
        processes[f"{label}.delay"] = delay = make_delay(f"{label}.delay", port.shape[0], extra)
        delay.a_out.connect(port)
        port = delay.s_in
    if link.delay:
        start = depth[link.source] + 1
        processes[f"{label}.gate"] = gate = make_gate(f"{label}.gate", port.shape[0], interval, start, link.delay)
        gate.s_out.connect(port)
        port = gate.s_in
    return port
