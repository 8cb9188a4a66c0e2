"""How a source was read: each property of the network, and by what it is known.

A network that is read wrong is verified wrong. So every importer says what the source said, what was assumed because
the source cannot say it, what an option set, and what was chosen from the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from nmdeploy.fixedpoint import FixedPoint

By = Literal["source", "assumed", "option", "data"]
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Fact:
    """One property of a network, in words, and by what it is known.

    Parameters
    ----------
    value : str
    by : {"source", "assumed", "option", "data"}
        The source said it; nothing did, and it was assumed; an option set it; it was chosen from calibration data.
    """

    value: str
    by: By


Facts = Mapping[str, Fact]


@dataclass(frozen=True)
class Reading:
    """How a network was read from its source.

    Parameters
    ----------
    source : str
        What was read, e.g. "NIR file net.nir".
    network : mapping of str to Fact
        Of the whole: "dt", "readout", "loops", "delays".
    input : mapping of str to Fact
        Of the input: "format", "axes", "rounding" (the relative error of rounding the data to the format).
    populations : mapping of str to mapping of str to Fact
        By population: "neuron", "reset", "threshold", "decay".
    options : mapping of str to str, int or float
        The options that were given, so that the source can be read in the same way again.
    comparison : mapping of str to JSON values
        The comparison with the framework that the source is of; empty if there was none.
    expected : mapping of str to JSON values
        The outputs or the accuracy that were expected of the float network, and met; empty without.
    notes : tuple of str
        What the reader of a network should know of its source, a line each.
    doubt : str, optional
        What makes the whole reading doubtful, with a remedy: named before any other problem.
    """

    source: str
    network: Facts = field(default_factory=dict)
    input: Facts = field(default_factory=dict)
    populations: Mapping[str, Facts] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    doubt: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the value of `read_as` in JSON output and in the model file."""
        return {
            "source": self.source,
            "network": _to_json(self.network),
            "input": _to_json(self.input),
            "populations": {name: _to_json(facts) for name, facts in self.populations.items()},
            "options": dict(self.options),
            **({"comparison": dict(self.comparison)} if self.comparison else {}),
            **({"expected": dict(self.expected)} if self.expected else {}),
            "notes": list(self.notes),
            "doubt": self.doubt,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reading:
        """Return the reading that `to_json` wrote."""
        return cls(
            str(values["source"]),
            _from_json(values["network"]),
            _from_json(values["input"]),
            {name: _from_json(facts) for name, facts in values["populations"].items()},
            dict(values["options"]),
            dict(values.get("comparison", {})),
            dict(values.get("expected", {})),
            tuple(map(str, values.get("notes", ()))),
            values.get("doubt"),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """The doubt and the notes, a line each."""
        return (*(() if self.doubt is None else (self.doubt,)), *self.notes)

    def lines(self) -> list[str]:
        """Return the block for the terminal, one line per object; populations with the same facts share one."""
        alike: dict[str, list[str]] = {}
        for name, facts in self.populations.items():
            alike.setdefault(_joined(facts), []).append(name)
        rows = [("network", _joined(self.network)), ("input", _joined(self.input))]
        rows += [(_names(names), text) for text, names in alike.items()]
        return [f"read as: {self.source}", *(f"  {name}: {text}" for name, text in rows if text)]


def reading_of(values: Mapping[str, Any]) -> Reading | None:
    """Return the reading that JSON holds as `read_as`, None if it holds none."""
    held = values.get("read_as")
    return None if held is None else Reading.from_json(held)


def _names(names: list[str], most: int = 4) -> str:
    """Return the first names, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _joined(facts: Facts) -> str:
    return "; ".join(
        f"{name} {fact.value}" + ("" if fact.by == "source" else f" ({fact.by})") for name, fact in facts.items()
    )


def _to_json(facts: Facts) -> dict[str, dict[str, str]]:
    return {name: {"value": fact.value, "by": fact.by} for name, fact in facts.items()}


def _from_json(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Fact]:
    return {name: Fact(str(held["value"]), held["by"]) for name, held in values.items()}


def assumed(reading: Reading) -> Iterator[tuple[str, str, Fact]]:
    """Yield (object, property, fact) of all that was assumed."""
    parts = {"network": reading.network, "input": reading.input, **reading.populations}
    for name, facts in parts.items():
        yield from ((name, key, fact) for key, fact in facts.items() if fact.by == "assumed")


def holds_input_format(reading: Reading | None) -> bool:
    """Return False if the number format of the input was assumed, because the source cannot say it."""
    fact = None if reading is None else reading.input.get("format")
    return fact is None or fact.by != "assumed"


def repeats_input(reading: Reading | None) -> bool:
    """Return True if the source repeats one input over its own steps, so that the steps of a sample cannot differ."""
    return reading is not None and "input" in reading.network


def describe_format(number: FixedPoint) -> str:
    """Return a format in words.

    >>> describe_format(FixedPoint(8, 4))
    '8 bits, 4 of them fraction, -8 to 7.9375'
    """
    if (number.min, number.max, number.frac) == (0, 1, 0):
        return "binary spikes"
    bits = f"{number.bits} bit{'s' * (number.bits > 1)}"
    low, high = (f"{value * number.step:.10g}" for value in (number.min, number.max))
    return f"{bits}, {number.frac} of them fraction, {low} to {high}"


def chosen_reset(reading: Reading | None, population: str) -> str:
    """Return the reset that an option chose for a population, as an addition to its kind; empty without one."""
    fact = None if reading is None else reading.populations.get(population, {}).get("reset")
    return f" (reset: {fact.value}, which --reset or --from chose)" if fact is not None and fact.by == "option" else ""


def kept_axes(reading: Reading | None) -> str | None:
    """Return the order of the axes of the data that an option said for the export; None if none did."""
    return None if reading is None else reading.options.get("axes")


def range_remedy(reading: Reading | None) -> str:
    """Return what helps against inputs that the format does not hold."""
    fact = None if reading is None else reading.input.get("format")
    if fact is None or fact.by == "source":
        return "rescale the inputs"
    if fact.by == "option":
        return "rescale the inputs, or export again with more --input-bits"
    return "rescale the inputs, or export again with --data that hold such values"
