"""Scales of a population as a value, chosen from a table of named limits before anything is rounded.

A code counts ``2**-frac`` of its quantity, so that a scale is a number of fraction bits. Each cause that limits a scale
is one line of a table, with its name, the most fraction bits that it allows, and the reason. The smallest line binds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nmdeploy._util.frozen import Frozen
from nmdeploy.errors import BadOption

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
Bits: TypeAlias = "int | IntArray"


@dataclass(frozen=True, eq=False)
class Limit(Frozen):
    """One line of a table of limits.

    Parameters
    ----------
    name : str
        Cause of the limit, such as "threshold".
    most : int or array of int
        Most fraction bits that it allows: of the population, or of each neuron, state or output.
    reason : str
        Limit in words, with its width, such as "the threshold has 17 bits".
    """

    name: str
    most: Bits
    reason: str


Table: TypeAlias = tuple[Limit, ...]


def tightest(limits: Sequence[Limit]) -> Any:
    """Return the fraction bits that all limits allow, elementwise if one of them is an array.

    >>> tightest([Limit("threshold", 5, ""), Limit("membrane", np.array([4, 6]), "")]).tolist()
    [4, 5]
    """
    found = limits[0].most
    for limit in limits[1:]:
        found = np.minimum(found, limit.most) if isinstance(limit.most, np.ndarray) else _lower(found, limit.most)
    return found


def _lower(found: Bits, most: int) -> Any:
    return np.minimum(found, most) if isinstance(found, np.ndarray) else min(found, most)


def binding(limits: Sequence[Limit]) -> Limit:
    """Return the limit with the smallest number of fraction bits; of equal ones, the first.

    >>> binding([Limit("threshold", 5, "17 bits"), Limit("membrane", 4, "24 bits")]).name
    'membrane'
    """
    return min(limits, key=lambda limit: int(np.min(limit.most, initial=1 << 30)))


@dataclass(frozen=True, eq=False)
class Scales(Frozen):
    """Scales of one population, all that rounding needs beside the float population itself.

    Parameters
    ----------
    scale : (input_size,) array
        Factor on the weights of each input: units of the exported synaptic sum per unit of the float network's.
    fracs : mapping of str to int or array of int
        Fraction bits by the name of the integer population's field. ``frac_in``, of the synaptic sum, is required.
        Others depend on the family.
    limits : mapping of str to tuple of Limit
        Table from which each of `fracs` was chosen. Scales that were trained or given have none.
    drive : (input_size,) array
        Factor on all that drives each input, 1 unless it makes up for a rounded decay. The membrane keeps its unit.
    """

    scale: FloatArray
    fracs: Mapping[str, Bits]
    limits: Mapping[str, Table] = field(default_factory=dict)
    drive: FloatArray = 1.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self._freeze("scale", self.scale, np.float64)
        self._freeze("drive", self.drive, np.float64, self.scale.shape)
        if "frac_in" not in self.fracs:
            raise BadOption("scales: frac_in is missing: give the fraction bits of the synaptic sum")

    @property
    def frac_in(self) -> int:
        """Fraction bits of the synaptic sum."""
        return int(self.fracs["frac_in"])

    @property
    def frac_out(self) -> int:
        """Fraction bits of the outputs' codes: 0 for spikes."""
        return int(self.fracs.get("frac_out", 0))

    def reason(self, frac: str) -> str:
        """Return the limit that bound a scale, in words; an empty text for scales that were given."""
        table = self.limits.get(frac, ())
        return f"{binding(table).name}: {binding(table).reason}" if table else ""

    def ends(self) -> dict[str, tuple[float, float]]:
        """Return the smallest and largest factor ("scale") and fraction bits, by name."""
        fracs = {name: (int(np.min(value)), int(np.max(value))) for name, value in self.fracs.items()}
        return {"scale": (float(self.scale.min()), float(self.scale.max())), **fracs}

    def to_json(self) -> dict[str, Any]:
        """Return the scales as JSON values: ``{"scale": ..., "fracs": {...}, "bound": {frac: name}}``.

        A drive that is not 1 is one more: ``"drive": ...``.
        """
        fracs = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in self.fracs.items()}
        bound = {name: binding(table).name for name, table in self.limits.items()}
        drive = {"drive": self.drive.tolist()} if (self.drive != 1).any() else {}
        return {"scale": self.scale.tolist(), "fracs": fracs, "bound": bound, **drive}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Scales:
        """Return the scales that `to_json` described, without their limits, which it does not hold."""
        given = values["fracs"].items()
        fracs = {name: np.array(value, np.int64) if isinstance(value, list) else int(value) for name, value in given}
        return Scales(np.array(values["scale"], np.float64), fracs, drive=values.get("drive", 1.0))
