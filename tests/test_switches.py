"""No switch has one legal value: what a profile, an option or a file can choose has an alternative.

Figures that are fixed on one chip stay: their key has other values on another chip.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest

from nmdeploy.cli.commands import main
from nmdeploy.errors import BadOption
from nmdeploy.hardware.interconnects import interconnects
from nmdeploy.hardware.profile_toml import TABLES, load_profile, profile_names
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.state_space.rules import ROUNDINGS
from nmdeploy.pipeline import FormatOverrides
from nmdeploy.synapses.dense import SIGN_MODES

FORMATS = Path(__file__).resolve().parent.parent / "docs" / "formats.md"
TEXT_KEYS = [
    (table, key) for table, (_, rules) in TABLES.items() for key, rule in rules.items() if rule.type in (str, tuple)
]
LEGAL = {"state_rounding": tuple(ROUNDINGS), "sign_modes": SIGN_MODES}


def loads(path: Path, text: str) -> bool:
    path.write_text(text, "utf-8")
    try:
        load_profile(path)
    except BadOption:
        return False
    return True


def test_every_key_of_a_profile_that_names_a_rule_is_walked() -> None:
    """A text of a profile is one of a list: the families' own texts in [neurons] are prose."""
    assert {key for _, key in TEXT_KEYS} == set(LEGAL)


@pytest.mark.parametrize(("table", "key"), TEXT_KEYS, ids=[key for _, key in TEXT_KEYS])
def test_a_key_that_names_a_rule_has_two_legal_values(tmp_path: Path, table: str, key: str) -> None:
    text, path = Path(load_profile("loihi1").path).read_text("utf-8"), tmp_path / "mine.toml"
    listed = TABLES[table][1][key].type is tuple

    def choose(value: str) -> str:
        chosen = f'["{value}"]' if listed else f'"{value}", choices = ["{value}"]'
        return re.sub(
            rf"^{key} = {{ value = .*?, source", lambda _: f"{key} = {{ value = {chosen}, source", text, flags=re.M
        )

    assert len([value for value in LEGAL.get(key, ()) if loads(path, choose(value))]) > 1
    assert not loads(path, choose("something else"))


def test_a_profile_has_a_choice_of_interconnects() -> None:
    assert len(interconnects()) > 1


@pytest.mark.parametrize("cls", [QuantizationConfig, FormatOverrides])
def test_the_texts_of_a_configuration_are_keys_with_a_choice(cls: type) -> None:
    hints = get_type_hints(cls)
    texts = {f.name for f in fields(cls) if "str" in str(hints[f.name])}
    assert "state_rounding" in texts and texts <= set(LEGAL)
    for name in texts:
        figures = [getattr(load_profile(profile).arithmetic, name) for profile in profile_names()]
        assert len({value for figure in figures for value in figure.choices or figure.value}) > 1, name


@pytest.mark.parametrize("command", main.commands.values(), ids=list(main.commands))
def test_options_of_commands_have_a_choice(command: click.Command) -> None:
    for option in command.params:
        assert not isinstance(option.type, click.Choice) or len(option.type.choices) > 1, option.name


def enumerations(schema: Any, name: str = "") -> Iterator[tuple[str, list[Any]]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("enum"), list):
            yield name, schema["enum"]
        for key, value in schema.items():
            yield from enumerations(value, key)
    elif isinstance(schema, list):
        for value in schema:
            yield from enumerations(value, name)


def test_enumerations_of_the_schemas_have_a_choice() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```$", FORMATS.read_text("utf-8"), re.M | re.S)
    found = [pair for block in blocks for pair in enumerations(json.loads(block))]
    assert len(found) > 10 and [name for name, values in found if len(values) < 2] == []
