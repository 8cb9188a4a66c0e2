"""The trainable models as text: the list, and the description of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from nmdeploy.models.catalog import NeuronModel, Option, neuron_models

PARALLEL = {
    "exact": "in parallel over time, exactly",
    "conditional": "in parallel over time if the condition below holds",
    "none": "step by step",
}


def listing() -> Iterator[str]:
    """Yield one line per model."""
    width = max(map(len, neuron_models()))
    for name, model in neuron_models().items():
        yield f"{name:<{width}}  {model.summary}"


def details(model: NeuronModel) -> Iterator[str]:
    """Yield equation, options, source, what was chosen, how it maps to hardware."""
    yield f"{model.name}: {model.summary}"
    yield from ("", "equation:", *_indented(model.equation))
    yield from ("", "options:", *map(option_line, model.options))
    if not model.options:
        yield "  none"
    yield from ("", f"normalization: of the {model.normalizes}", f"training: {PARALLEL[model.parallel]}")
    for title in ("citation", "chosen", "hardware"):
        yield from ("", f"{title}:", *_indented(getattr(model, title)))


def option_line(option: Option) -> str:
    """Return name, default, choices and meaning of an option."""
    choices = f", one of {', '.join(map(str, option.choices))}" if option.choices else ""
    least = "" if option.least is None else f", at least {option.least}"
    return f"  {option.name} = {option.default}{choices}{least}: {option.help}"


def model_json(model: NeuronModel) -> dict[str, Any]:
    """Return what `nmdeploy models --json` prints."""
    texts = (
        "name",
        "summary",
        "equation",
        "citation",
        "chosen",
        "hardware",
        "module",
        "normalizes",
        "parallel",
        "mixer",
    )
    return {name: getattr(model, name) for name in texts} | {"options": [asdict(option) for option in model.options]}


def _indented(text: str) -> Iterator[str]:
    return (f"  {line}".rstrip() for line in text.strip("\n").splitlines())
