"""Hardware profiles as TOML files: found by name, read strictly.

A profile is one TOML file. It lies in the folder ``hw_profiles``, is registered in the entry point group
``nmdeploy.profiles`` (a module whose ``PATH`` is the file), or is named by its path. A figure that is missing, unknown
or of the wrong type is an error that names the file, the key and the remedy. No numpy is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from nmdeploy._util.plugins import registered
from nmdeploy.errors import BadFile, BadOption
from nmdeploy.hardware import events
from nmdeploy.hardware.interconnects import Interconnect, interconnects
from nmdeploy.hardware.profile import Arithmetic, Chip, CoreLimits, Energy, Figure, HardwareProfile

GROUP = "nmdeploy.profiles"
UNPUBLISHED = "unpublished"
KINDS = ("published", "chosen", "simulated", "measured", "derived")
ELECTRICAL_KINDS = ("simulated", "measured", "derived")
BOUNDS = {"low": "min", "high": "max"}
ROUNDINGS = ("per-product", "per-sum")
SIGN_MODES = ("mixed", "excitatory", "inhibitory")


@dataclass(frozen=True)
class Rule:
    """Requirements for one figure of a file.

    ``optional`` figures may be unpublished. ``ranged`` ones have min and max, ``listed`` ones have choices.
    ``electrical`` ones have a kind and may have a voltage. Only ``signed`` ones may be negative. ``legal`` lists all
    texts that have a meaning.
    """

    type: type
    unit: str = ""
    optional: bool = False
    ranged: bool = False
    listed: bool = False
    electrical: bool = False
    signed: bool = False
    legal: tuple[str, ...] = ()


COUNT = Rule(int)
LIMIT = Rule(int, optional=True)
BITS = Rule(int, unit="bit", optional=True)
WIDTH = Rule(int, ranged=True)
SIGNED = Rule(int, signed=True)
FAMILY = Rule(str)


TABLES: dict[str, tuple[type, dict[str, Rule]]] = {
    "arithmetic": (
        Arithmetic,
        {
            "weight_bits": WIDTH,
            "sign_modes": Rule(tuple, legal=SIGN_MODES),
            "weight_exp_min": SIGNED,
            "weight_exp_max": SIGNED,
            "state_bits": WIDTH,
            "state_rounding": Rule(str, listed=True, legal=ROUNDINGS),
            "coefficient_bits": WIDTH,
            "coefficient_frac": WIDTH,
            "graded_payload_bits": COUNT,
        },
    ),
    "core": (
        CoreLimits,
        {"neurons": COUNT, "input_axons": LIMIT, "output_axons": LIMIT}
        | {"synapse_bits": BITS, "neuron_bits": BITS, "memory_bits": BITS},
    ),
    "chip": (Chip, {"cores": COUNT, "usable_cores": COUNT}),
}
NAMES = ("neurons", *TABLES, "interconnect", "energy", "timing")


def profile_names() -> list[str]:
    """Return the names of the installed profiles, sorted."""
    return sorted(_paths())


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Load a profile by name, or by the path of a ``.toml``.

    Raises
    ------
    BadOption
        There is no such profile, or a figure of its file is missing, unknown or of the wrong type.
    BadFile
        The file cannot be read.
    """
    path = _paths().get(str(name_or_path))
    if path is None:
        path = Path(name_or_path)
        if path.suffix != ".toml":
            raise BadOption(
                f"profile {str(name_or_path)!r} does not exist: choose one of {', '.join(profile_names())}, "
                "or give the path of a .toml"
            )
    return read_profile(path)


@cache
def _paths() -> dict[str, Path]:
    package = Path(__file__).resolve().parent.parent
    own = [path for folder in (package.parent, package) for path in sorted((folder / "hw_profiles").glob("*.toml"))]
    return {path.stem: path for path in [*(Path(module.PATH) for module in registered(GROUP)), *own]}


def read_profile(path: Path) -> HardwareProfile:
    """Read the profile in a file; `BadFile` if it cannot be read, `BadOption` if its content is wrong."""
    held = _parse(path)
    where = f"profile {path}"
    _known(where, held, ("title", *NAMES))
    _complete(where, held, ("title",))
    if not isinstance(held["title"], str):
        raise BadOption(f"{where}: title is not text: quote it")
    for name in NAMES:
        if not isinstance(held.get(name), Mapping):
            raise BadOption(f"{where}: has no table {name}: write [{name}]")
    tables = {name: table(**_table(f"{where}: [{name}]", held[name], rules)) for name, (table, rules) in TABLES.items()}
    interconnect = _interconnect(f"{where}: [interconnect]", held["interconnect"])
    profile = HardwareProfile(
        path.stem,
        held["title"],
        str(path),
        neurons={kind: _entry(f"{where}: [neurons] {kind}", entry, FAMILY) for kind, entry in held["neurons"].items()},
        interconnect=interconnect,
        energy=_energy(f"{where}: [energy]", held["energy"], interconnect.events),
        timing=_events(f"{where}: [timing]", held["timing"], _times(interconnect.events)),
        **tables,
    )
    _check_together(where, profile)
    return profile


def _interconnect(where: str, held: Mapping[str, Any]) -> Interconnect:
    _complete(where, held, ("topology",))
    topology = _entry(f"{where} topology", held["topology"], Rule(str, legal=tuple(sorted(interconnects()))))
    kind = interconnects()[topology.required_value]
    return kind(**_table(where, held, {f.name: COUNT for f in fields(kind)} | {"topology": Rule(str)}))


def _energy(where: str, held: Mapping[str, Any], messages: tuple[str, ...]) -> Energy:
    rules = {name: _electrical(unit) for name, unit in events.units(messages).items()}
    others = {key: entry for key, entry in held.items() if key != "states_per_update"}
    _complete(where, held, ("states_per_update",))
    return Energy(
        events=_events(where, others, rules),
        states_per_update=_entry(f"{where} states_per_update", held["states_per_update"], COUNT),
    )


def _times(messages: tuple[str, ...]) -> dict[str, Rule]:
    joules = [name for name, unit in events.units(messages).items() if unit == "J"]
    return dict.fromkeys((*joules, *events.BARRIERS), _electrical("s"))


def _electrical(unit: str) -> Rule:
    return Rule(float, unit=unit, optional=True, electrical=True)


def _events(where: str, held: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Figure[float]]:
    """Return the figures of the events that a table names, in its order."""
    for name in held:
        if name not in rules:
            raise BadOption(f"{where}: event {name!r} is unknown: remove it, or use one of {', '.join(rules)}")
    return {name: _entry(f"{where} {name}", entry, rules[name]) for name, entry in held.items()}


def _parse(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return dict(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise BadFile(f"profile {path}: cannot be read ({error.strerror or error}): check the path") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(f"profile {path}: is no TOML ({error}): fix the file") from error


def _table(where: str, held: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Figure[Any]]:
    _known(where, held, tuple(rules))
    _complete(where, held, tuple(rules))
    return {key: _entry(f"{where} {key}", held[key], rule) for key, rule in rules.items()}


def _known(where: str, held: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in held:
        if key not in keys:
            raise BadOption(f"{where}: key {key!r} is unknown: remove it, or use one of {', '.join(keys)}")


def _complete(where: str, held: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if key not in held:
            raise BadOption(f"{where}: lacks {key!r}: add it (an unpublished figure is written {UNPUBLISHED!r})")


def _entry(where: str, entry: Any, rule: Rule) -> Figure[Any]:
    if not isinstance(entry, Mapping):
        raise BadOption(f"{where}: is {entry!r} without a source: write {{ value = ..., source = '...' }}")
    _known(where, entry, ("value", "source", "kind", "note", "unit", *_extra_keys(rule)))
    _complete(where, entry, ("value", "source", *_extra_keys(rule, required=True)))
    for key in ("source", "kind", "note", "unit"):
        if not isinstance(entry.get(key, ""), str):
            raise BadOption(f"{where}: {key} = {entry[key]!r} is not text: quote it")
    if not entry["source"].strip():
        raise BadOption(f"{where}: source is empty: name the publication of the figure")
    value = _value(where, entry["value"], rule)
    return Figure(
        value=value,
        citation=entry["source"],
        kind=_kind(where, entry, rule, value),
        unit=_unit(where, entry, rule, value),
        voltage=_voltage(where, entry),
        note=entry.get("note", ""),
        **_range(where, entry, rule, value),
    )


def _extra_keys(rule: Rule, required: bool = False) -> tuple[str, ...]:
    voltage = () if required or not rule.electrical else ("voltage",)
    return (*(BOUNDS.values() if rule.ranged else ()), *(("choices",) if rule.listed else ()), *voltage)


def _value(where: str, value: Any, rule: Rule) -> Any:
    if value == UNPUBLISHED and rule.optional:
        return None
    if value == UNPUBLISHED:
        raise BadOption(f"{where}: cannot be {UNPUBLISHED}: nothing can be computed without it; give a value")
    if rule.type is tuple:
        return _legal(where, _texts(where, value), rule)
    number = rule.type is float and isinstance(value, int)
    if isinstance(value, bool) or not (number or isinstance(value, rule.type)):
        raise BadOption(f"{where}: value = {value!r} is of the wrong type: give {rule.type.__name__}")
    if isinstance(value, (int, float)) and not rule.signed and not 0 <= value < float("inf"):
        raise BadOption(f"{where}: value = {value!r} is out of range: give 0 or more")
    if isinstance(value, str):
        _legal(where, (value,), rule)
    return float(value) if rule.type is float else value


def _legal(where: str, values: tuple[str, ...], rule: Rule) -> tuple[str, ...]:
    for value in values:
        if rule.legal and value not in rule.legal:
            raise BadOption(f"{where}: {value!r} is unknown: give one of {', '.join(rule.legal)}")
    return values


def _texts(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise BadOption(f"{where}: {value!r} is of the wrong type: give a list of texts")
    return tuple(value)


def _kind(where: str, entry: Mapping[str, Any], rule: Rule, value: Any) -> str:
    allowed = ELECTRICAL_KINDS if rule.electrical and value is not None else KINDS
    kind = entry.get("kind", "" if allowed is ELECTRICAL_KINDS else "published")
    if kind not in allowed:
        raise BadOption(f"{where}: kind = {kind!r} is unknown: give one of {', '.join(allowed)}")
    return str(kind)


def _unit(where: str, entry: Mapping[str, Any], rule: Rule, value: Any) -> str:
    unit = entry.get("unit", rule.unit if value is None else "")
    if unit != rule.unit:
        raise BadOption(f"{where}: unit = {unit!r}: give {rule.unit!r}")
    return rule.unit


def _voltage(where: str, entry: Mapping[str, Any]) -> float | None:
    voltage = entry.get("voltage")
    if voltage is None:
        return None
    if isinstance(voltage, bool) or not isinstance(voltage, (int, float)) or not 0 < voltage < 100:
        raise BadOption(f"{where}: voltage = {voltage!r} is of the wrong type or size: give volts")
    return float(voltage)


def _range(where: str, entry: Mapping[str, Any], rule: Rule, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if rule.ranged:
        found = {name: _value(f"{where} {key}", entry[key], Rule(int)) for name, key in BOUNDS.items()}
        if not found["low"] <= value <= found["high"]:
            raise BadOption(f"{where}: value = {value} is outside min {found['low']} to max {found['high']}: fix one")
    if rule.listed:
        found["choices"] = _legal(f"{where} choices", _texts(f"{where} choices", entry["choices"]), rule)
        if value not in found["choices"]:
            raise BadOption(f"{where}: value = {value!r} is not among its choices {found['choices']}: fix one")
    return found


def _check_together(where: str, profile: HardwareProfile) -> None:
    chip, rules, interconnect = profile.chip, profile.arithmetic, profile.interconnect
    for name, key, figure in profile.figures():
        if name in ("core", "chip", "interconnect") and figure.value == 0:
            raise BadOption(f"{where}: [{name}] {key} = 0 holds nothing: give 1 or more")
    if chip.usable_cores.required_value > chip.cores.required_value:
        raise BadOption(
            f"{where}: [chip] usable_cores = {chip.usable_cores.value} exceeds cores = {chip.cores.value}: lower it"
        )
    if chip.cores.required_value > interconnect.capacity:
        raise BadOption(
            f"{where}: [chip] cores = {chip.cores.value} exceeds the {interconnect.capacity} places of the "
            f"{interconnect.kind} of [interconnect]: correct one of them"
        )
    if rules.weight_exp_min.required_value > rules.weight_exp_max.required_value:
        raise BadOption(f"{where}: [arithmetic] weight_exp_min exceeds weight_exp_max: swap them")
