"""The trainable models, one file each: what each is, and how its trained parameters become a float population.

A model is a `NeuronModel`, the value `MODEL` of a module of this folder, or of a module that another distribution
registers under the entry point group ``nmdeploy.models``. No torch here: its trainable module is named by a string.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.plugins import parts
from nmdeploy.errors import BadOption
from nmdeploy.neurons.base import FloatArray, Neuron

Tensors = Mapping[str, npt.NDArray[Any]]
Options = Mapping[str, Any]
NORMS = ("batch", "layer", "none")


@dataclass(frozen=True)
class Option:
    """A keyword option of a model's trainable module; `default` also fixes its type, `least` is its smallest value."""

    name: str
    default: Any
    help: str
    choices: tuple[Any, ...] = ()
    least: float | None = None


@dataclass(frozen=True)
class Trained:
    """A block's trained neuron, ready to become a population.

    Parameters
    ----------
    tensors : mapping of str to array, float64
        The neuron module's state_dict.
    scale, shift : (H*p,) float
        The block's normalization in evaluation, ``scale * y + shift``, of what the module normalizes (see
        `NeuronModel.normalizes`); ones and zeros where the block has none, or where the synapses took it over.
    options : mapping
        The model's options, complete.
    seed : int
        Differs from block to block: for populations that draw random bits.
    """

    tensors: Tensors
    scale: FloatArray
    shift: FloatArray
    options: Options
    seed: int = 0


@dataclass(frozen=True)
class NeuronModel:
    """One spiking state-space neuron of the field, as users choose it by name.

    Parameters
    ----------
    name : str
        As in ``nmdeploy.models.create(name, ...)``.
    summary : str
        One line.
    equation : str
        The step, in plain text.
    citation : str
        The paper or file it comes from.
    chosen : str
        What the source leaves open, and what was chosen (Markdown).
    hardware : str
        How it maps to hardware, and its latency (Markdown); what a step costs is counted, not told.
    module : str
        ``"package.module:Class"`` of the trainable neuron.
    shapes : callable
        ``(channels, states, options) -> {tensor: shape}`` of its state_dict.
    population : callable
        `Trained` -> the float population.
    options : tuple of Option
    normalizes : {"membrane", "current"}
        The signal that the block's normalization acts on: the dynamics' output y (it folds into C, D and the bias), or
        the synaptic sum a (it folds into the weights and the population's own input bias, or a bias of the synapses if
        it has none).
    inputs, outputs : callable
        ``options -> q`` and ``options -> p`` of a neuron.
    mixer : bool
        Whether a gated linear unit over the channels follows each block.
    parallel : str
        "exact", "conditional" or "none": whether training runs in parallel over time, exactly.
    """

    name: str
    summary: str
    equation: str
    citation: str
    chosen: str
    hardware: str
    module: str
    shapes: Callable[[int, int, Options], dict[str, tuple[int, ...]]]
    population: Callable[[Trained], Neuron]
    options: tuple[Option, ...] = ()
    normalizes: str = "membrane"
    inputs: Callable[[Options], int] = lambda options: 1
    outputs: Callable[[Options], int] = lambda options: 1
    mixer: bool = False
    parallel: str = "none"

    def complete(self, given: Options) -> dict[str, Any]:
        """All options, those `given` checked: `BadOption` for a wrong name, choice or type, or one out of bounds."""
        known = {option.name: option for option in self.options}
        for name, value in given.items():
            if name not in known:
                raise BadOption(f"model {self.name!r}: option {name!r} is unknown: choose among {sorted(known)}")
            option = known[name]
            if option.choices and value not in option.choices:
                raise BadOption(f"model {self.name!r}: {name} = {value!r}: choose one of {option.choices}")
            if not _fits(value, option.default):
                kind = type(option.default).__name__
                raise BadOption(f"model {self.name!r}: {name} = {value!r}: give a value of type {kind}")
            if isinstance(option.default, (int, float)) and not isinstance(value, bool) and not is_finite(value):
                raise BadOption(f"model {self.name!r}: {name} = {value!r}: give a finite number")
            if option.least is not None and not value >= option.least:
                raise BadOption(f"model {self.name!r}: {name} = {value!r}: give at least {option.least}")
        return {name: given.get(name, option.default) for name, option in known.items()}


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def is_finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold, and no truth value."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


@cache
def neuron_models() -> dict[str, NeuronModel]:
    """Every model by name, sorted."""
    found = [module.MODEL for module in parts("nmdeploy.models.catalog", "MODEL", group="nmdeploy.models")]
    return {model.name: model for model in sorted(found, key=lambda model: model.name)}


def neuron_model(name: str) -> NeuronModel:
    """The model of this name; `BadOption` lists those that exist."""
    if name not in neuron_models():
        raise BadOption(f"model {name!r} is unknown: choose one of {', '.join(neuron_models())}")
    return neuron_models()[name]


def plain(trained: Trained, name: str) -> FloatArray:
    """A tensor of a trained neuron as float64."""
    return np.asarray(trained.tensors[name], np.float64)
