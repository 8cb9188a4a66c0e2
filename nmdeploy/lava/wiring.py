"""Synapses between the populations of a network, and the delays and gates that align them."""
# mypy: disable-error-code="import-not-found,import-untyped"

from dataclasses import dataclass
from typing import Any

import numpy as np
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.proc.io.source import RingBuffer

from nmdeploy.lava.latch import Latch
from nmdeploy.lava.population import Placement, Population
from nmdeploy.lava.synapses import make_bias, make_delay, make_sample_gate, make_synapse
from nmdeploy.lava.topology import Connection, Schedule, inserted_delay


@dataclass(frozen=True)
class Wiring:
    """Connections of the populations; `connect` adds synapses, biases, latches, delays and gates to `processes`."""

    processes: dict[str, AbstractProcess]
    places: dict[str, Placement]
    nodes: dict[str, Any]
    populations: dict[str, Population]
    links: list[Connection]
    when: Schedule
    kept: dict[str, int]

    def connect(self) -> list[InPort]:
        """Connect all populations and return the ports for the input."""
        inputs = []
        ones = RingBuffer(data=np.ones((1, 1), np.int32))
        for synapse in dict.fromkeys(link.synapse for link in self.links):
            incoming = [link for link in self.links if link.synapse == synapse]
            sources = [self.populations[link.source] for link in incoming]
            self.processes[synapse] = process = make_synapse(synapse, self.nodes[synapse], sources)
            target = incoming[0].target
            process.a_out.connect(self._keep(synapse, target))
            if self.nodes[synapse].get("bias") is not None:
                self.processes[f"{synapse}.bias"] = bias = make_bias(f"{synapse}.bias", self.nodes[synapse])
                ones.s_out.connect(bias.s_in)
                bias.a_out.connect(self.processes[target].a_in)
            for link in incoming:
                port = self._align(link, process.s_in)
                if self.populations[link.source].make is None:
                    inputs.append(port)
                else:
                    self.processes[link.source].s_out.connect(port)
        return inputs

    def _keep(self, synapse: str, target: str) -> InPort:
        """Return the port for the sum of `synapse`: the population's own, or the port of a latch before it."""
        port: InPort = self.processes[target].a_in
        if synapse not in self.kept:
            return port
        place, name = self.places[target], f"{synapse}.latch"
        timing = {**place.timing, "name": name}
        self.processes[name] = latch = Latch(shape=port.shape, window=self.kept[synapse], **timing)
        latch.a_out.connect(port)
        return latch.a_in

    def _align(self, link: Connection, port: InPort) -> InPort:
        """Put the delay and the gate that `link` needs before `port`, and return the port that takes its place."""
        label = f"{link.source}->{link.synapse}"
        extra = inserted_delay(link, self.when)
        if extra:
            self.processes[f"{label}.delay"] = delay = make_delay(f"{label}.delay", port.shape[0], extra)
            delay.a_out.connect(port)
            port = delay.s_in
        if link.delay:
            start, interval = self.when.departure_step[link.source] + 1, self.places[link.target].interval
            self.processes[f"{label}.gate"] = gate = make_sample_gate(
                f"{label}.gate", port.shape[0], interval, start, link.delay
            )
            gate.s_out.connect(port)
            port = gate.s_in
        return port
