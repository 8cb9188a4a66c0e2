"""Parts of a kind: what each must define is checked when it is loaded."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from nmdeploy import importers, reports
from nmdeploy._util import plugins
from nmdeploy.errors import BadOption
from nmdeploy.models.catalog import neuron_models
from nmdeploy.network.read_options import ReadOptions


def module(**content: Any) -> ModuleType:
    made = ModuleType("theirs")
    vars(made).update(content)
    return made


@pytest.mark.parametrize(
    ("content", "listed", "missing"),
    [
        ({"SUFFIXES": (".x",)}, importers.importers, "nmdeploy.importers does not define load"),
        ({"load": print}, importers.importers, "nmdeploy.importers does not define SUFFIXES"),
        ({"SUFFIX": ".x"}, reports.formats, "nmdeploy.reports does not define render"),
        ({}, neuron_models.__wrapped__, "nmdeploy.models does not define MODEL"),
    ],
)
def test_a_module_that_lacks_a_name_is_refused(
    content: dict[str, Any], listed: Any, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "registered", lambda group: [module(**content)])
    with pytest.raises(BadOption, match=f"^extension module 'theirs' of {missing}: update or uninstall it$"):
        listed()


def test_what_a_module_leaves_out_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = module(SUFFIXES=(".x",), load=print)
    monkeypatch.setattr(plugins, "registered", lambda group: [theirs])
    found = importers.importers()[".x"]
    assert found is theirs and found.problems("file.x", ReadOptions()) == []
    assert importers.importers()[".nir"].problems is not importers.no_problems
