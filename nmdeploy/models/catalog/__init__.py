"""The catalog of trainable models, one file each, with the function from trained parameters to a float population.

A model is a `NeuronModel`. It is the value `MODEL` of a module of this folder, or of a module that another
distribution registers under the entry point group ``nmdeploy.models``. The catalog imports no torch: a string names
each trainable module.
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
        The block's normalization in evaluation, ``scale * y + shift``, of the signal that `NeuronModel.normalizes`
        names. Ones and zeros if the block has none, or if the synapses took it over.
    options : mapping
        All options of the model.
    seed : int
        Seed of populations that draw random bits. It differs from block to block.
    """

    tensors: Tensors
    scale: FloatArray
    shift: FloatArray
    options: Options
    seed: int = 0


@dataclass(frozen=True)
class NeuronModel:
    """A spiking state-space neuron of the field that users choose by name.

    Parameters
    ----------
    name : str
        Name, as in ``nmdeploy.models.create(name, ...)``.
    summary : str
        Description in one line.
    equation : str
        The step, in plain text.
    citation : str
        The paper or file that it comes from.
    chosen : str
        Choices that the source leaves open (Markdown).
    hardware : str
        Mapping to hardware, and latency (Markdown). The cost of a step is counted elsewhere.
    module : str
        ``"package.module:Class"`` of the trainable neuron.
    shapes : callable
        ``(channels, states, options) -> {tensor: shape}`` of its state_dict.
    population : callable
        `Trained` -> the float population.
    options : tuple of Option
        Options of the trainable module.
    normalizes : {"membrane", "current"}
        Signal that the block's normalization acts on. "membrane" is the dynamics' output y: it folds into C, D and the
        bias. "current" is the synaptic sum a: it folds into the weights and the population's own input bias, or into a
        bias of the synapses if the population has none.
    inputs, outputs : callable
        ``options -> q`` and ``options -> p``, the numbers of inputs and outputs per neuron.
    mixer : bool
        True if a gated linear unit over the channels follows each block.
    parallel : str
        Exactness of training in parallel over time: "exact", "conditional" or "none".
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
        """Return all options, those in `given` checked.

        Raises
        ------
        BadOption
            A name is unknown, or a value has the wrong type, is not a choice or is out of range.
        """
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
    """Return True if a value is a number that a float can hold, and not a bool."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


@cache
def neuron_models() -> dict[str, NeuronModel]:
    """Return every model by name, sorted."""
    found = [module.MODEL for module in parts("nmdeploy.models.catalog", "MODEL", group="nmdeploy.models")]
    return {model.name: model for model in sorted(found, key=lambda model: model.name)}


def neuron_model(name: str) -> NeuronModel:
    """Return the model of this name; raise `BadOption`, which lists all names, if there is none."""
    if name not in neuron_models():
        raise BadOption(f"model {name!r} is unknown: choose one of {', '.join(neuron_models())}")
    return neuron_models()[name]


def plain(trained: Trained, name: str) -> FloatArray:
    """Return a tensor of a trained neuron as float64."""
    return np.asarray(trained.tensors[name], np.float64)
