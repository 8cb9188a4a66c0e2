"""The rules by which a NIR file is read: time step, decays, resets, comparison and gain, and by what each is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmdeploy.errors import BadOption
from nmdeploy.importers.frameworks import BY_NAME, NIR_GAINS, Framework, Step, Values
from nmdeploy.network.read_options import EVERY, ReadOptions
from nmdeploy.network.reading import By
from nmdeploy.neurons.base import FloatArray


@dataclass(frozen=True)
class Meaning:
    """The rules of one file.

    Parameters
    ----------
    options : ReadOptions
        An option wins over what its framework means, which wins over NIR's equations.
    dt : float
        Seconds per step.
    dt_by : {"source", "assumed", "option"}
    time_scale : float
        Factor on the time constants of the file.
    """

    options: ReadOptions
    dt: float
    dt_by: By = "option"
    time_scale: float = 1.0

    @property
    def framework(self) -> Framework | None:
        """The framework whose exporter wrote the file, if an option says so."""
        return None if self.options.framework is None else BY_NAME[self.options.framework]

    @property
    def decay(self) -> str:
        """Rule of `--decay`."""
        return self.options.decay or ("euler" if self.framework is None else self.framework.decay)

    @property
    def decay_by(self) -> By:
        """By what the rule of the decays is known; NIR's equations leave it open."""
        return "option" if self.options.decay or self.framework else "assumed"

    @property
    def at_threshold(self) -> bool:
        """True if a membrane that equals its threshold spikes; NIR says that it does not."""
        return self.framework is not None and self.framework.at_threshold

    def reset(self, population: str) -> str:
        """Return the rule of `--reset` for a population."""
        return self.options.reset_of(population) or ("zero" if self.framework is None else self.framework.reset)

    def reset_by(self, population: str) -> By:
        """Return by what the reset is known; exporters of several frameworks mean another than NIR's equations."""
        return "option" if self.options.reset_of(population) or self.framework else "assumed"

    @property
    def at_threshold_by(self) -> By:
        """By what the comparison at the threshold is known; some exporters mean another than NIR's equations."""
        return "option" if self.framework else "assumed"

    def start(self, values: Values) -> FloatArray:
        """Return the membrane (H,) before the first step: `v_reset`; with a leak, Norse starts at `v_leak`."""
        at_rest = self.options.framework == "norse" and "v_leak" in values
        return np.asarray(values["v_leak" if at_rest else "v_reset"])

    def share(self, tau: FloatArray) -> FloatArray:
        """Return the share of a state that a step loses: dt / tau, or 1 - exp(-dt / tau)."""
        return np.minimum(self.dt / tau, 1.0) if self.decay == "euler" else -np.expm1(-self.dt / tau)

    def gain(self, kind: str, values: Values, enters: FloatArray, leak: FloatArray) -> FloatArray:
        """Return the factor on the synaptic sum of a population of a NIR type."""
        gains = {} if self.framework is None else self.framework.gains
        return (gains.get(kind) or NIR_GAINS[kind])(values, Step(enters, leak, self.dt))


def require_populations(options: ReadOptions, spiking: list[str]) -> None:
    """Raise `BadOption` for a reset of a population that does not exist or does not spike."""
    for name, rule in options.resets.items():
        if name != EVERY and name not in spiking:
            known = f"only {', '.join(map(repr, spiking[:8]))}: name one of them" if spiking else "none: leave it out"
            raise BadOption(f"--reset {name}={rule}: there is no spiking population {name!r}, {known}")
