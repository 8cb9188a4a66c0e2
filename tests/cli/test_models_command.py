"""`nmdeploy models`: what it prints of what is registered."""

from __future__ import annotations

import json
import subprocess
import sys

import processes
import pytest
from shared import Cli

from nmdeploy.cli.models import details, option_line
from nmdeploy.models.catalog import NeuronModel, Option, neuron_models


def test_one_line_a_model(cli: Cli) -> None:
    lines = cli("models").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(neuron_models()) and "binary-s4d" in neuron_models()
    for line, model in zip(lines, neuron_models().values(), strict=True):
        assert line.endswith(f"  {model.summary}") and model.summary


@pytest.mark.parametrize("name", neuron_models())
def test_all_that_is_known_about_a_model(cli: Cli, name: str) -> None:
    model, shown = neuron_models()[name], cli("models", name).stdout
    assert shown.startswith(f"{name}: {model.summary}\n")
    sections = [f"\n{title}:\n" for title in ("equation", "options", "citation", "chosen", "hardware")]
    assert [shown.count(section) for section in sections] == [1] * 5
    for text in (model.equation, model.citation, model.chosen, model.hardware):
        for line in text.strip().splitlines():
            assert line.rstrip() in shown
    for option in model.options:
        assert f"  {option.name} = {option.default}" in shown and option.help in shown
        assert all(str(choice) in shown for choice in option.choices)


def test_json(cli: Cli) -> None:
    everything = json.loads(cli("models", "--json").stdout)
    assert [model["name"] for model in everything] == list(neuron_models())
    one = json.loads(cli("models", "binary-s4d", "--json").stdout)
    assert one in everything
    assert {"summary", "equation", "citation", "chosen", "hardware", "options", "parallel"} <= set(one)
    for model in everything:
        for option in model["options"]:
            assert {"name", "default", "help", "choices", "least"} == set(option)


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_unknown_name_ends_in_one_line(more: tuple[str, ...]) -> None:
    outcome = processes.run("models", "hodgkin-huxley", *more)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: model 'hodgkin-huxley' is unknown: choose one of ")
    assert outcome.stderr.count("\n") == 1 and "binary-s4d" in outcome.stderr


def test_options_show_default_choices_and_meaning() -> None:
    assert option_line(Option("mode", "raw", "what silences", ("raw", "emitted"))) == (
        "  mode = raw, one of raw, emitted: what silences"
    )
    none = NeuronModel("x", "y", "", "", "", "", "", lambda *_: {}, lambda _: None)  # type: ignore[arg-type, return-value]
    assert "  none" in list(details(none))


def test_completion_of_names() -> None:
    code = "from nmdeploy.cli.commands import _complete_models as f; print(f(None, None, 'binary'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['binary-s4d']\n"
