"""The trainable systems as lines of text: the list, and what there is to know about one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from nmdeploy.models.catalog import Option, System, systems

PARALLEL = {
    "exact": "in parallel over time, exactly",
    "conditional": "in parallel over time where the condition below holds",
    "none": "step by step",
}


def listing() -> Iterator[str]:
    """One line a system."""
    width = max(map(len, systems()))
    for name, system in systems().items():
        yield f"{name:<{width}}  {system.summary}"


def details(system: System) -> Iterator[str]:
    """Equation, options, source, what was chosen, how it maps to hardware."""
    yield f"{system.name}: {system.summary}"
    yield from ("", "equation:", *_indented(system.equation))
    yield from ("", "options:", *map(option_line, system.options))
    if not system.options:
        yield "  none"
    yield from ("", f"normalization: of the {system.normalizes}", f"training: {PARALLEL[system.parallel]}")
    for title in ("source", "chosen", "hardware"):
        yield from ("", f"{title}:", *_indented(getattr(system, title)))


def option_line(option: Option) -> str:
    """Name, default, choices and meaning of an option."""
    choices = f", one of {', '.join(map(str, option.choices))}" if option.choices else ""
    least = "" if option.least is None else f", at least {option.least}"
    return f"  {option.name} = {option.default}{choices}{least}: {option.help}"


def system_json(system: System) -> dict[str, Any]:
    """As `nmdeploy models --json` prints it."""
    texts = ("name", "summary", "equation", "source", "chosen", "hardware", "module", "normalizes", "parallel", "mixer")
    return {name: getattr(system, name) for name in texts} | {"options": [asdict(option) for option in system.options]}


def _indented(text: str) -> Iterator[str]:
    return (f"  {line}".rstrip() for line in text.strip("\n").splitlines())
