"""A check of each node of a file for a profile: deployable, what is lost, or why not.

Nothing is converted or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy.errors import BadOption, NmdeployError, OverflowPossible, UnsupportedParameter
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile
from nmdeploy.importers import importer_for, load, refuse_other_dt
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import FloatArray, QuantizationConfig
from nmdeploy.nir_io import read
from nmdeploy.nir_io.file import is_sealed, load_bytes
from nmdeploy.quantization.post_training import (
    frac_of_ranges,
    population_bounds,
    population_scales,
    round_population,
    weight_error,
)

Bounds = dict[str, Mapping[str, FloatArray]]


@dataclass(frozen=True)
class Finding:
    """One node: if it is deployable, what is lost (or empty), and why it is not (or None)."""

    node: str
    kind: str
    deployable: bool
    lost: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class Check:
    """All nodes of a file, for a profile."""

    file: str
    profile: str
    nodes: tuple[Finding, ...]

    @property
    def deployable(self) -> bool:
        """True if every node is deployable."""
        return all(node.deployable for node in self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Return what `nmdeploy check --json` prints."""
        nodes = [asdict(node) for node in self.nodes]
        return {"file": self.file, "profile": self.profile, "deployable": self.deployable, "nodes": nodes}


def check_file(source: Any, profile: str, dt: float | None = None) -> Check:
    """Check every node of a network against a profile: of a file, or of an object that `load` takes."""
    target = load_profile(profile)
    if not isinstance(source, (str, Path)):
        return Check("the network", target.name, tuple(_importable("the network", source, target, dt)))
    path = str(source)
    importer = importer_for(path)
    if is_sealed(load_bytes(path)):
        model = read(path)
        refuse_other_dt(path, dt, model.dt)
        return Check(path, target.name, tuple(check_model(model, target)))
    rejected = importer.problems(Path(path), dt=dt)
    findings = [Finding(node, kind, problem is None, problem=problem) for node, kind, problem in rejected]
    return Check(path, target.name, tuple(findings or _importable(path, path, target, dt)))


def _importable(name: str, source: Any, profile: HardwareProfile, dt: float | None) -> list[Finding]:
    """Return the findings for a network as a whole, if it can be imported; else the reason."""
    try:
        return list(check_network(load(source, dt=dt), profile))
    except UnsupportedParameter as error:
        return [Finding("network", "graph", False, problem=str(error).removeprefix(f"{name}: "))]


def check_model(network: QuantizedNetwork, profile: HardwareProfile) -> Iterator[Finding]:
    """Check each node of a quantized model: if the profile runs it, and what of the whole does not fit."""
    for name, synapse in network.synapses.items():
        yield Finding(name, synapse.kind, True)
    for name, neuron in network.populations.items():
        problem = _not_run(neuron.kind, profile)
        yield Finding(name, neuron.kind, problem is None, problem=problem)
    if all(neuron.kind in profile.neurons for neuron in network.populations.values()):
        for problem in map_network(network, profile).problems:
            yield Finding("network", "mapping", False, problem=problem)


def _not_run(kind: str, profile: HardwareProfile) -> str | None:
    return None if kind in profile.neurons else f"profile {profile.name!r} does not run neurons of kind {kind!r}"


def check_network(network: Network, profile: HardwareProfile) -> Iterator[Finding]:
    """Check each population with its synapses, quantized by themselves, then if the whole fits the cores."""
    config = profile.quantization_config()
    nodes: dict[str, Any] = {network.input_name: network.input}
    # A population that fails, or that feeds back, leaves the others something to be judged by.
    ranges: Bounds = {name: _unit_ranges(network, name) for name in network.populations}
    for name, neuron in network.populations.items():
        try:
            yield from _check_population(network, name, config, profile, nodes, ranges)
        except NmdeployError as error:
            yield Finding(name, neuron.kind, False, problem=str(error))
    if len(nodes) == len(network.nodes) and all(n.kind in profile.neurons for n in network.populations.values()):
        yield from _check_fit(network, nodes, profile)


def _check_fit(network: Network, nodes: dict[str, Any], profile: HardwareProfile) -> Iterator[Finding]:
    try:
        whole = QuantizedNetwork(nodes, network.edges, network.dt, network.output, network.readout, profile.name)
    except OverflowPossible:
        return  # scales without calibration data are not those of an export, which proves its own
    except UnsupportedParameter as error:
        yield Finding("network", "alignment", False, problem=str(error))
        return
    for problem in map_network(whole, profile).problems:
        yield Finding("network", "mapping", False, problem=problem)


def _check_population(
    network: Network,
    name: str,
    config: QuantizationConfig,
    profile: HardwareProfile,
    nodes: dict[str, Any],
    ranges: Bounds,
) -> Iterator[Finding]:
    lost = []
    try:
        ranges[name] = population_bounds(network, name, ranges)
    except BadOption:
        lost.append("its scales need calibration data (export --data)")
    scales = population_scales(network, name, config, ranges)
    quantized, synapses, notes = round_population(network, name, scales, frac_of_ranges(network, ranges), config)
    nodes |= synapses | {name: quantized}
    for source, synapse in synapses.items():
        error = weight_error(network.synapses[source], synapse, quantized.scale)
        yield Finding(source, synapse.kind, True, f"weights rounded, relative error {error:.2g}" if error else "")
    problem = _not_run(quantized.kind, profile)
    yield Finding(name, quantized.kind, problem is None, "; ".join([*lost, *notes]), problem)


def _unit_ranges(network: Network, name: str) -> dict[str, FloatArray]:
    neuron = network.populations[name]
    return {key: np.ones_like(value) for key, value in neuron.observe(neuron.start(1)).items()}


def render(check: Check) -> str:
    """Return a table for the terminal."""
    lines = [f"{check.file} on {check.profile}: " + ("deployable" if check.deployable else "NOT deployable")]
    for node in check.nodes:
        verdict = "yes" if node.deployable else "no "
        why = (node.problem or node.lost).removeprefix(f"node {node.node!r}: ")
        lines.append(f"  {verdict}  {node.node} ({node.kind})  {why}".rstrip())
    return "\n".join(lines)
