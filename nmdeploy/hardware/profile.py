"""Hardware profiles: the arithmetic, limits and costs of a target, each figure with its source.

No numpy is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nmdeploy.errors import BadOption

if TYPE_CHECKING:
    from nmdeploy.hardware.interconnects import Interconnect
    from nmdeploy.neurons.base import QuantizationConfig

T = TypeVar("T")


@dataclass(frozen=True)
class Figure(Generic[T]):
    """One figure of a profile.

    Parameters
    ----------
    value : T or None
        None if nobody has published it ("not available", never 0).
    citation : str
        The publication of the value, or the reason for its choice.
    kind : {"published", "chosen", "simulated", "measured", "derived"}
        Origin of the value.
    unit : str
        ``J``, ``s``, ``W``, ``bit`` or empty.
    voltage : float or None
        Supply voltage in volts for which the value holds.
    low, high : int or None
        Smallest and largest value that an option may choose instead.
    choices : tuple of str
        Values that an option may choose instead.
    note : str
        Remark for a user who relies on the figure.
    """

    value: T | None
    citation: str
    kind: str = "published"
    unit: str = ""
    voltage: float | None = None
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    note: str = ""

    @property
    def required_value(self) -> T:
        """Value of a figure that every profile must have; `BadOption` if it is unpublished."""
        if self.value is None:
            raise BadOption(f"a required figure is unpublished ({self.citation}): give it a value in the profile")
        return self.value


@dataclass(frozen=True)
class Arithmetic:
    """Widths and rules of the integers."""

    weight_bits: Figure[int]
    sign_modes: Figure[tuple[str, ...]]
    weight_exp_min: Figure[int]
    weight_exp_max: Figure[int]
    state_bits: Figure[int]
    state_rounding: Figure[str]
    coefficient_bits: Figure[int]
    coefficient_frac: Figure[int]
    graded_payload_bits: Figure[int]


@dataclass(frozen=True)
class CoreLimits:
    """Largest amounts that one core holds; a limit that nobody has published is not checked."""

    neurons: Figure[int]
    input_axons: Figure[int]
    output_axons: Figure[int]
    synapse_bits: Figure[int]
    neuron_bits: Figure[int]
    memory_bits: Figure[int]


@dataclass(frozen=True)
class Chip:
    """Number of cores."""

    cores: Figure[int]
    usable_cores: Figure[int]


@dataclass(frozen=True)
class Energy:
    """Energy of each event in joules, static power of a used core in watts.

    Parameters
    ----------
    events : mapping of an event's name to its figure
        The names are those of `nmdeploy.hardware.events` and those of the interconnect. An event without a figure does
        not count.
    states_per_update : Figure
        Real states that one neuron update of the figures advances.
    """

    events: Mapping[str, Figure[float]]
    states_per_update: Figure[int]


@dataclass(frozen=True)
class HardwareProfile:
    """One target, with its arithmetic, limits and costs.

    `neurons` maps each family that the target runs to the way it runs it, `timing` maps each event to its duration in
    seconds. Two profiles with the same content in different places are equal: `path` is not compared.
    """

    name: str
    title: str
    path: str = field(compare=False)
    arithmetic: Arithmetic
    neurons: Mapping[str, Figure[str]]
    core: CoreLimits
    chip: Chip
    interconnect: Interconnect
    energy: Energy
    timing: Mapping[str, Figure[float]]

    def quantization_config(
        self,
        weight_bits: int | None = None,
        state_bits: int | None = None,
        coefficient_bits: int | None = None,
        coefficient_frac: int | None = None,
        state_rounding: str | None = None,
    ) -> QuantizationConfig:
        """Return the number formats of a quantization: those of the profile, except those given.

        Without `coefficient_frac`, a narrower coefficient keeps the range: a pole of magnitude 1 remains representable.

        Raises
        ------
        BadOption
            A value outside the range that this profile allows.
        """
        from nmdeploy.neurons.base import QuantizationConfig

        rules = self.arithmetic
        bits = self._chosen("coefficient_bits", coefficient_bits)
        frac = coefficient_frac
        if frac is None:
            frac = min(rules.coefficient_frac.required_value, bits - 2)
        if frac >= bits:
            raise BadOption(
                f"profile {self.name!r}: coefficient_frac = {frac} leaves no bit of {bits} for the sign: "
                f"give --coefficient-frac 0 to {bits - 1}"
            )
        return QuantizationConfig(
            weight_bits=self._chosen("weight_bits", weight_bits),
            state_bits=self._chosen("state_bits", state_bits),
            coefficient_bits=bits,
            coefficient_frac=self._chosen("coefficient_frac", frac),
            state_rounding=self._listed("state_rounding", state_rounding),
            sign_modes=rules.sign_modes.required_value,
            weight_exp_min=rules.weight_exp_min.required_value,
            weight_exp_max=rules.weight_exp_max.required_value,
            dense_state_space="dense_state_space" in self.neurons,
        )

    def _chosen(self, name: str, value: int | None) -> int:
        figure: Figure[int] = getattr(self.arithmetic, name)
        if value is None:
            return figure.required_value
        low, high = figure.low or 0, figure.high if figure.high is not None else figure.required_value
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            option = "--" + name.replace("_", "-")
            allowed = f"{low} to {high}" if low < high else f"{low}"
            raise BadOption(f"profile {self.name!r}: {name} = {value} is outside of {allowed}: give {option} {allowed}")
        return value

    def _listed(self, name: str, value: str | None) -> str:
        figure: Figure[str] = getattr(self.arithmetic, name)
        if value is not None and value not in figure.choices:
            option = "--" + name.removeprefix("state_").replace("_", "-")
            raise BadOption(
                f"profile {self.name!r}: {name} = {value!r} is not among {', '.join(figure.choices)}: "
                f"give {option} {figure.choices[0]}"
            )
        return figure.required_value if value is None else value

    def figures(self) -> list[tuple[str, str, Figure[Any]]]:
        """Return every figure as (table, key, figure), in the order of the file."""
        return [(table.name, *pair) for table in fields(self)[3:] for pair in _figures(getattr(self, table.name))]


def _figures(table: Any) -> Iterator[tuple[str, Figure[Any]]]:
    held = table if isinstance(table, Mapping) else {f.name: getattr(table, f.name) for f in fields(table)}
    for key, value in held.items():
        if isinstance(value, Figure):
            yield key, value
        else:
            yield from _figures(value)
