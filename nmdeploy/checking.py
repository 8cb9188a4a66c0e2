"""A check of each node of a network for a profile, on the path of `export`: deployable, what is lost, or why not.

Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from nmdeploy.errors import BadOption, CalibrationNeeded, NmdeployError, UnsupportedParameter
from nmdeploy.hardware.mapping import MappedNetwork, families_not_run, map_network
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.importers import importer_for, refuse_options, refuse_other_dt, resolve
from nmdeploy.importers.python_names import is_name
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import Reading
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.nir_io import read
from nmdeploy.nir_io.file import is_sealed, load_bytes
from nmdeploy.quantization.assessment import Assessment
from nmdeploy.quantization.effect_notes import lost, main_causes, measured, named
from nmdeploy.quantization.effects import PopulationEffect, TensorEffect
from nmdeploy.quantization.post_training import (
    Ranges,
    calibrate,
    frac_of_ranges,
    population_bounds,
    population_scales,
    quantize_network,
    round_population,
    static_ranges,
)
from nmdeploy.quantization.without_data import plausible_ranges, quantize_plausibly
from nmdeploy.samples.source import Data

NEEDS_DATA = "needs calibration data: give --data"


@dataclass(frozen=True)
class Finding:
    """One node: if it is deployable, what is lost (or empty), and why it is not (or None)."""

    node: str
    kind: str
    deployable: bool
    lost: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class Cores:
    """Cores that a network takes, of those that the chip offers, and those of each layer."""

    used: int
    limit: int
    layers: Mapping[str, int]

    @property
    def fit(self) -> bool:
        """True if the chip offers as many."""
        return self.used <= self.limit


@dataclass(frozen=True)
class Check:
    """All nodes of a network, for a profile.

    ``cores`` is None if the network could not be mapped. ``notes`` are what `export` would say.
    """

    file: str
    profile: str
    nodes: tuple[Finding, ...]
    cores: Cores | None = None
    notes: tuple[str, ...] = ()
    read_as: Reading | None = None

    @property
    def deployable(self) -> bool:
        """True if every node is deployable."""
        return all(node.deployable for node in self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Return what `nmdeploy check --json` prints."""
        return {
            "file": self.file,
            "profile": self.profile,
            "deployable": self.deployable,
            "nodes": [asdict(node) for node in self.nodes],
            "cores": None if self.cores is None else asdict(self.cores),
            "notes": list(self.notes),
            "read_as": None if self.read_as is None else self.read_as.to_json(),
        }


class Conversion(Protocol):
    """The path of an export, with its options and data."""

    @property
    def profile(self) -> HardwareProfile: ...
    @property
    def config(self) -> QuantizationConfig: ...
    @property
    def is_default(self) -> bool: ...
    def load(self, source: Any) -> Network: ...
    def prepared(self, network: Network) -> tuple[Network, Data | None]: ...
    def quantize(self, network: Network, data: Data | None) -> QuantizedNetwork: ...
    def assess(self, network: Network, quantized: QuantizedNetwork, data: Data | None) -> Assessment: ...


def check_source(source: Any, options: ReadOptions, conversion: Conversion) -> Check:
    """Check every node of a file, or of an object that `load` takes, on the path of a conversion."""
    target, name = conversion.profile, str(source)
    source = resolve(source, options)
    if not isinstance(source, (str, Path)):
        return _check_loaded(name if is_name(name) else "the network", source, conversion)
    path = str(source)
    importer = importer_for(path)
    if is_sealed(load_bytes(path)):
        model = read(path)
        refuse_other_dt(path, options.dt, model.dt)
        refuse_options(path, options)
        if not conversion.is_default:
            raise BadOption(f"{path}: is a model, its integers are fixed: leave out all options but --profile")
        return replace(_check_model(path, model, target), read_as=model.read_as)
    rejected = importer.problems(Path(path), options)
    findings = [Finding(node, kind, problem is None, problem=problem) for node, kind, problem in rejected]
    return Check(path, target.name, tuple(findings)) if findings else _check_loaded(path, source, conversion)


def _check_loaded(name: str, source: Any, conversion: Conversion) -> Check:
    """Check a network as a whole, if it can be imported; else name the reason."""
    try:
        network = conversion.load(source)
    except UnsupportedParameter as error:
        finding = Finding("network", "graph", False, problem=str(error).removeprefix(f"{name}: "))
        return Check(name, conversion.profile.name, (finding,))
    network, data = conversion.prepared(network)
    return replace(_check_network(name, network, data, conversion), read_as=network.read_as)


def _check_model(name: str, model: QuantizedNetwork, profile: HardwareProfile) -> Check:
    """Check each node of a quantized model: if the profile runs it, and what of the whole does not fit."""
    not_run = families_not_run(model, profile)
    findings = _findings(model, not_run, {})
    if not_run:
        return Check(name, profile.name, tuple(findings))
    mapped = map_network(model, profile)
    return Check(name, profile.name, (*findings, *_misfits(mapped)), _cores(mapped))


def _check_network(name: str, network: Network, data: Data | None, conversion: Conversion) -> Check:
    """Convert a float network as `export` does, and say of each node what became of it."""
    profile = conversion.profile
    problems = families_not_run(network, profile)
    if problems:
        problems = {**_node_problems(network, conversion.config, _some_ranges(network, data)), **problems}
        return Check(name, profile.name, tuple(_findings(network, problems, {})))
    try:
        quantized = conversion.quantize(network, data)
    except CalibrationNeeded:
        return _check_without_data(name, network, conversion)
    except NmdeployError as error:
        return _refused(name, network, conversion, error, _some_ranges(network, data))
    assessment = conversion.assess(network, quantized, data)
    mapped = map_network(quantized, profile)
    findings = [*_findings(network, {}, _losses(network, assessment.effects)), *_misfits(mapped)]
    notes = (*quantized.notes, *assessment.warnings)
    return Check(name, profile.name, tuple(findings), _cores(mapped), notes)


def _check_without_data(name: str, network: Network, conversion: Conversion) -> Check:
    """Check a network that cannot be converted without calibration data, with ranges that data may have."""
    config, profile, ranges = conversion.config, conversion.profile.name, next(plausible_ranges(network))
    quantized = quantize_plausibly(network, config, profile)
    if quantized is None:
        try:
            quantized = quantize_network(network, config, ranges=ranges, profile=profile)
        except NmdeployError as error:
            return _refused(name, network, conversion, error, ranges)
    mapped = map_network(quantized, conversion.profile)
    unknown = _node_problems(network, config, ranges, at_bounds=True)
    losses = _losses(network, conversion.assess(network, quantized, None).effects)
    losses |= dict.fromkeys(unknown or network.populations, NEEDS_DATA)
    findings = (*_findings(network, {}, losses), *_misfits(mapped))
    return Check(name, profile, findings, _cores(mapped))


def _refused(name: str, network: Network, conversion: Conversion, error: NmdeployError, ranges: Ranges) -> Check:
    """Name every node that cannot be converted by itself, or what is wrong with the network as a whole."""
    problems = _node_problems(network, conversion.config, ranges)
    findings = _findings(network, problems, {})
    if not problems:
        findings.append(Finding("network", "quantization", False, problem=str(error)))
    return Check(name, conversion.profile.name, tuple(findings))


def _some_ranges(network: Network, data: Data | None) -> Ranges:
    """Return the ranges on the data, or plausible ones for a network that cannot be calibrated."""
    try:
        if data is None:
            return static_ranges(network)
        return calibrate(network, network.input.format.dequantize(data.codes), data.lengths)
    except NmdeployError:
        return next(plausible_ranges(network))


def _node_problems(
    network: Network, config: QuantizationConfig, ranges: Ranges, at_bounds: bool = False
) -> dict[str, str]:
    """Return why each population, with its synapses, cannot be quantized by itself.

    With `at_bounds`, the ranges of each population are its static bounds, given `ranges` of the others.
    """
    found = {}
    for name in network.populations:
        try:
            held = {**ranges, name: population_bounds(network, name, ranges)} if at_bounds else ranges
            scales = population_scales(network, name, config, held)
            round_population(network, name, scales, frac_of_ranges(network, held), config)
        except NmdeployError as error:
            found[name] = str(error)
    return found


def _findings(
    network: Network | QuantizedNetwork, problems: Mapping[str, str], losses: Mapping[str, str]
) -> list[Finding]:
    """Return a finding for each population, sources first, and before it for each of its synapses."""
    names = [(*(edge.source for edge in network.incoming[name]), name) for name in network.populations]
    return [
        Finding(name, network.nodes[name].kind, name not in problems, losses.get(name, ""), problems.get(name))
        for name in chain.from_iterable(names)
    ]


def _misfits(mapped: MappedNetwork) -> Iterator[Finding]:
    for problem in mapped.problems:
        yield Finding("network", "mapping", False, problem=problem)


def _cores(mapped: MappedNetwork) -> Cores:
    return Cores(len(mapped.cores), mapped.core_limit, mapped.cores_by_layer())


def _losses(network: Network, effects: Sequence[PopulationEffect]) -> dict[str, str]:
    """Return the loss of each node in words."""
    found: dict[str, str] = {}
    for effect in effects:
        for source in (edge.source for edge in network.incoming[effect.population]):
            texts = [_loss(tensor) for tensor in effect.tensors if tensor.node == source]
            found[source] = "; ".join(text for text in texts if text)
        if effect.together is None:
            texts = [_loss(tensor) for tensor in effect.tensors if tensor.node == effect.population]
            found[effect.population] = "; ".join(text for text in texts if text)
        elif effect.together.share:
            causes = ", ".join(named(cause) for cause in main_causes(effect))
            found[effect.population] = lost(effect.together) + (f", most by {causes}" if causes else "")
    return found


def _loss(effect: TensorEffect) -> str:
    return f"{effect.tensor}: {measured(effect)}" if effect.worst else ""


def render(check: Check) -> str:
    """Return a table for the terminal."""
    lines = [] if check.read_as is None else check.read_as.lines()
    lines += [] if check.read_as is None else [f"note: {warning}" for warning in check.read_as.warnings]
    lines += [f"{check.file} on {check.profile}: " + ("deployable" if check.deployable else "NOT deployable")]
    for node in check.nodes:
        verdict = "yes" if node.deployable else "no "
        why = (node.problem or node.lost).removeprefix(f"node {node.node!r}: ")
        lines.append(f"  {verdict}  {node.node} ({node.kind})  {why}".rstrip())
    if check.cores is not None:
        lines.append(f"cores: {check.cores.used} of {check.cores.limit}")
        if not check.deployable:
            lines += [f"  {layer}: {cores} cores" for layer, cores in check.cores.layers.items()]
    return "\n".join([*lines, *(f"note: {note}" for note in check.notes)])
