"""The integer network beside the float one, on the same samples: what differs, and which tensor makes it differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.activity import Activity, difference
from nmdeploy.analysis.alone import Sent
from nmdeploy.analysis.deviations import Deviation, deviations
from nmdeploy.analysis.finding import CHANGED, ROUNDING, Finding, which
from nmdeploy.analysis.reading_back import Read, read
from nmdeploy.network.network import QuantizedNetwork

FAR_OFF, FAR_OFF_MEMBRANE = 0.25, 0.1
"""Share of differing spikes, and of the error's energy (10 dB), from which on a layer is far off."""
FAR_OFF_SPIKES = 20
"""Differing spikes from which on a share of them says something."""
HELPS = 0.3
"""Share of a population's difference that restoring a rounded tensor must undo to be named."""
FAULTS = {"decay": f.DECAY_OFF, "bias": f.BIAS_OFF, "threshold": f.THRESHOLD_OFF, "coefficient": f.COEFFICIENT_OFF}
"""Fault of a tensor by its measure, where its effect alone names it."""


@dataclass(frozen=True, eq=False)
class Beside:
    """The integer network beside the float one, on the same samples."""

    read: Read
    sent: Sent
    integers: Mapping[str, Activity]
    alone: Mapping[str, Any]
    shares: Mapping[str, float]
    counts: Mapping[str, float]

    @classmethod
    def of(cls, network: QuantizedNetwork, sent: Sent, integers: Mapping[str, Activity]) -> Beside:
        """Run every integer population on what the float network sends to it."""
        alone = {name: sent.integers_alone(name, network) for name in network.populations}
        found = {name: difference(sent.activity[name], outputs) for name, outputs in alone.items()}
        shares, counts = ({name: both[part] for name, both in found.items()} for part in (0, 1))
        return cls(read(network, sent.network), sent, integers, alone, shares, counts)

    def is_far(self, name: str) -> bool:
        """Return True for a population that is far from that of the float network, on the same inputs."""
        if self.sent.activity[name].graded:
            return self.shares[name] > FAR_OFF_MEMBRANE
        return self.shares[name] > FAR_OFF and self.counts[name] >= FAR_OFF_SPIKES

    def findings(self) -> Iterator[Finding]:
        """Yield the tensors that were changed, and those whose rounding makes the difference, most damage first."""
        found = [
            each
            for each in deviations(self.read, self.integers, self.sent.activity)
            if each.finding.origin == CHANGED or self.is_far(each.finding.population) or self._is_lost(each.finding)
        ]
        base = {name: self._difference(name, {}) for name in {each.finding.population for each in found}}
        undone = [(each, *self._undone(each, base[each.finding.population])) for each in found]
        named = set()
        for each, share, spikes in sorted(undone, key=lambda item: -item[1]):
            whole = self.shares[each.finding.population]
            if each.finding.origin == CHANGED or share >= HELPS * whole or self._is_lost(each.finding):
                named.add(each.finding.population)
                yield replace(each.finding, spikes=spikes)
        for name in self.read.source.populations:
            if name not in named and self.is_far(name):
                yield from self._by_effect(name)

    def _by_effect(self, name: str) -> Iterator[Finding]:
        """Yield the tensors whose rounding alone makes much of a population's difference, most damage first.

        Where several tensors are rounded badly, restoring one of them does not help.
        """
        found = []
        for node, tensor, measure in self.read.tensors_of(name):
            effect = self._with(name, {**self.read.source.nodes, **self.read.rounded(node, tensor)})
            fault = f.WEIGHTS_OFF if tensor == "weight" else FAULTS[measure]
            found.append((*effect, fault, tensor if node == name else f"{node} {tensor}"))
        found.append((*self._of_states(name), f.STATES_ROUNDED, "states"))
        everyone = tuple(range(self.read.source.populations[name].size))
        for share, spikes, fault, tensor in sorted(found, key=lambda each: -each[0]):
            if share >= HELPS * self.shares[name]:
                words = f"{spikes:,} spikes" if spikes else f"values by {share:.0%} of their energy"
                text = f"{which(everyone, len(everyone))}: rounding {tensor} alone changes {words}"
                yield Finding(name, fault, tensor, everyone, text, ROUNDING)

    def _of_states(self, name: str) -> tuple[float, int]:
        """Return the difference that the rounding of states and sums in every step makes."""
        floats = self._run(name, self.read.network.nodes)
        return difference(replace(self.sent.activity[name], outputs=floats), self.alone[name])

    def _undone(self, deviation: Deviation, base: tuple[float, int]) -> tuple[float, int]:
        """Return how much of a population's difference is undone by restoring one tensor, and how many spikes."""
        left = self._difference(deviation.finding.population, self.read.restored(deviation.node, deviation.tensor))
        return base[0] - left[0], base[1] - left[1]

    def _difference(self, name: str, restored: Mapping[str, Any]) -> tuple[float, int]:
        """Return the difference of a population with the integers' tensors, except those that are restored."""
        return self._with(name, {**self.read.network.nodes, **restored})

    def _with(self, name: str, nodes: Mapping[str, Any]) -> tuple[float, int]:
        """Return the difference of a population of `nodes`, with the synapses among them."""
        return difference(self.sent.activity[name], self._run(name, nodes))

    def _run(self, name: str, nodes: Mapping[str, Any]) -> Any:
        synapses = {edge.source: nodes[edge.source] for edge in self.read.source.incoming[name]}
        return self.sent.alone(nodes[name], synapses)

    def _is_lost(self, finding: Finding) -> bool:
        """Return True for neurons whose rows were rounded to 0 and whose spikes went with them."""
        at = list(finding.neurons)
        was, now = self.sent.activity[finding.population].rates[at], self.integers[finding.population].rates[at]
        return finding.fault == f.ROW_ROUNDED_TO_0 and bool((now < 0.5 * was).any())
