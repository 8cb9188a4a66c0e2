"""Options for what a source cannot say of its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nmdeploy.errors import BadOption

FRAMEWORKS = ("snntorch", "norse", "sinabs", "rockpool", "spikingjelly")
RESETS = ("zero", "zero-delayed", "subtract", "subtract-delayed", "none")
DECAYS = ("euler", "exponential")
AXES = ("NTC", "TNC", "NCT")
FLAGS = {
    "dt": "--dt",
    "framework": "--from",
    "resets": "--reset",
    "decay": "--decay",
    "input_bits": "--input-bits",
    "input_frac": "--input-frac",
    "readout": "--readout",
    "axes": "--axes",
    "weights": "--weights",
}
"""The command line's option of each field."""
EVERY = ""
"""The key of `ReadOptions.resets` for all populations that are not named."""


@dataclass(frozen=True)
class ReadOptions:
    """Statements of a user on a source, where the source cannot say it; None and empty mean that nothing was said.

    Parameters
    ----------
    dt : float, optional
        Seconds per step.
    framework : {"snntorch", "norse", "sinabs", "rockpool", "spikingjelly"}, optional
        The framework whose exporter wrote the source. It sets reset, decay, comparison, dt and input gain.
    resets : mapping of str to {"zero", "zero-delayed", "subtract", "subtract-delayed", "none"}
        Reset by population; `EVERY` is the key for all others. The delayed ones act in the step after the spike.
    decay : {"euler", "exponential"}, optional
        How decays per step follow from time constants: 1 - dt/tau, or exp(-dt/tau).
    input_bits, input_frac : int, optional
        Width and fraction bits of the input's format.
    readout : str, optional
        Rule that reduces the outputs of all steps to one value per class.
    axes : {"NTC", "TNC", "NCT"}, optional
        Order of the axes of the data: samples (N), steps (T), channels (C).
    weights : str, optional
        Path of a state dict for a module that is named, ``package.module:attribute``.
    """

    dt: float | None = None
    framework: str | None = None
    resets: Mapping[str, str] = field(default_factory=dict)
    decay: str | None = None
    input_bits: int | None = None
    input_frac: int | None = None
    readout: str | None = None
    axes: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.dt is not None and not 0 < self.dt < float("inf"):
            raise BadOption(f"--dt {self.dt}: give a positive number of seconds per step")
        chosen = (("--from", self.framework, FRAMEWORKS), ("--decay", self.decay, DECAYS), ("--axes", self.axes, AXES))
        for name, value, known in chosen:
            _require_known(name, value, known)
        for rule in self.resets.values():
            _require_known("--reset", rule, RESETS)

    def given(self) -> dict[str, Any]:
        """Return what was said, by the name of the field: JSON values."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) not in (None, {})}

    def completed(self, stored: Mapping[str, Any]) -> ReadOptions:
        """Return these options, with what they leave open from stored ones (`given` of an earlier reading)."""
        mine = self.given()
        return replace(self, **{name: value for name, value in stored.items() if name not in mine})

    def reset_of(self, population: str) -> str | None:
        """Return the reset that was said for a population, or None."""
        return self.resets.get(population, self.resets.get(EVERY))


def _require_known(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise BadOption(f"{name} {value}: choose one of {', '.join(known)}")


def parse_resets(given: tuple[str, ...]) -> dict[str, str]:
    """Return the resets of `--reset [NODE=]RULE` options, by population.

    >>> parse_resets(("subtract", "lif2=zero"))
    {'': 'subtract', 'lif2': 'zero'}
    """
    found: dict[str, str] = {}
    for text in given:
        node, _, rule = text.rpartition("=")
        if node in found:
            raise BadOption(f"--reset {text}: a reset is given twice for {node or 'all populations'}: give one")
        found[node] = rule
    return found
