"""Objects at a Python prompt and in a notebook: short texts, small tables, however much they hold."""

from __future__ import annotations

import html
import pydoc
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from shared import CALIBRATION, CHECKPOINT

import nmdeploy
from nmdeploy._util.shown import Shown, Summary
from nmdeploy.analysis.comparison import Comparison, Divergence, Verification
from nmdeploy.analysis.report import Report
from nmdeploy.network.builder import NetworkBuilder
from nmdeploy.network.network import Network
from nmdeploy.neurons.lif import LIF
from nmdeploy.recording.types import Recording
from nmdeploy.synapses.sparse import Sparse

TEXT_MAX, HTML_MAX = 1000, 20_000
UNKIND = '<script>alert("&")</script>' * 4


class Tags(HTMLParser):
    """Reads a document; every tag that is opened is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen.add(tag)
        self.rows += tag == "tr"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def shown(value: Shown) -> tuple[str, str]:
    """Return text and HTML, both checked."""
    text, page = repr(value), value._repr_html_()
    assert len(text) < TEXT_MAX and "\n" not in text and str(value) == text
    assert len(page.encode()) < HTML_MAX
    tags = Tags()
    tags.feed(page)
    assert not tags.open and tags.seen <= {"div", "p", "b", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    return text, page


def chain(sizes: list[int], name: str = "layer") -> Network:
    """Return LIF populations in a row, with few synapses each."""
    builder, rng = NetworkBuilder(1e-3), np.random.default_rng(0)
    before, width = builder.input(16), 16
    for index, size in enumerate(sizes):
        population = builder.population(LIF(alpha=0.0, beta=np.full(size, 0.9), v_threshold=1.0), f"{name}{index}")
        ends = np.arange(width + 1) * 2
        targets = np.sort(rng.choice(size, (width, 2), replace=True), 1)
        targets[:, 1] = np.minimum(targets[:, 0] + 1, size - 1)
        targets[:, 0] = np.where(targets[:, 0] == targets[:, 1], targets[:, 0] - 1, targets[:, 0])
        builder.connect(before, population, Sparse(ends, targets.ravel(), rng.uniform(0.5, 1, width * 2), size))
        before, width = population, size
    return builder.build(before, "sum")


def everything(floats: Network, inputs: Any, labels: Any = None) -> Iterator[Shown]:
    """Yield network, model, recording, verification and report."""
    data = {"inputs": inputs} if labels is None else {"inputs": inputs, "labels": labels}
    model = nmdeploy.quantize(floats, data=data)
    recording = nmdeploy.run(model, data, "reference", "states")
    result = nmdeploy.verify(model, data, "compiled", floats)
    yield from (floats, model, recording, result, nmdeploy.report(model, data, floats=floats, verification=result))
    yield nmdeploy.load_data(data, floats)


def spikes(samples: int = 2, steps: int = 5, channels: int = 16) -> Any:
    return np.random.default_rng(1).random((samples, steps, channels)) < 0.4


def test_what_the_objects_of_the_demo_say() -> None:
    floats = nmdeploy.load(CHECKPOINT)
    with np.load(CALIBRATION) as held:
        inputs, labels = held["inputs"][:3], held["labels"][:3]
    network, model, recording, result, report, data = map(shown, everything(floats, inputs, labels))
    assert network[0] == (
        "<Network: 1 input channel (values 0 to 1.9375 in steps of 0.0625); 4 populations with 202 neurons: "
        "block0 (state_space, 64), block1 (state_space, 64), block2 (state_space, 64), readout (integrator, 10); "
        "readout 'last' of 'readout'; dt 0.001 s>"
    )
    assert model[0].startswith("<QuantizedNetwork: ")
    assert "for loihi2: weights of 8 bits, states of 24 bits" in model[0]
    assert "<td>block1</td><td>state_space</td><td>64</td><td>block0: dense 64 x 64</td>" in model[1]
    assert "3 samples of 64 steps; backend 'reference', latency 4 steps; output values (3, 64, 10)" in recording[0]
    assert f"classes {', '.join(map(str, labels))};" in recording[0]
    assert "<td>spikes, re, im" in recording[1] and "<th>neuron updates</th>" in recording[1]
    assert result[0] == (
        "<Verification: equal; backends compared: compiled; accuracy float 1.0000, "
        "float_rounded_input 1.0000, quantized 1.0000; 0 overflows>"
    )
    assert "<td>compiled</td><td>3</td><td>64</td>" in result[1]
    assert report[0].startswith("<Report: loihi2: fits; 4 cores, energy ") and "verification: equal" in report[0]
    assert "<td>total</td><td>202</td>" in report[1]
    assert data[0] == "<Data: 3 samples of up to 64 steps; labels>"


@pytest.mark.parametrize(
    "sizes",
    [pytest.param([10_000], id="one large layer"), pytest.param([250] * 40, id="many layers", marks=pytest.mark.slow)],
)
def test_ten_thousand_neurons(sizes: list[int]) -> None:
    for value in everything(chain(sizes), spikes()):
        text, page = shown(value)
        assert "10,000 neurons" in text or not isinstance(value, Network)
        if len(sizes) > 1 and isinstance(value, Network):
            assert "layer0 (lif, 250)" in text and "... 34 more ..." in text and "layer39 (lif, 250)" in text
            assert "<td>layer39</td>" in page


def test_a_thousand_layers() -> None:
    text, page = shown(chain([10] * 1000))
    assert "1,000 populations with 10,000 neurons" in text
    assert "<td>layer0</td>" in page and "<td>layer999</td>" in page and "more rows ...</td>" in page


def test_names_that_are_long_or_look_like_tags() -> None:
    for value in everything(chain([8] * 9, UNKIND), spikes()):
        _, page = shown(value)
        assert "<script" not in page
        assert f"<td>{html.escape('<script>')}" in page or not isinstance(value, (Network, Recording, Report))
    _, page = shown(chain([2] * 300, UNKIND))
    assert "more rows ...</td>" in page


def test_a_difference_is_shown() -> None:
    first = Divergence(3, "hidden", "spikes", 4, None, 7, 1, 0)
    result = Verification((Comparison("reference", "lava", 5, 9, 45, 1000, 12, first),), {"float": None}, {})
    text, page = shown(result)
    assert text == "<Verification: different; backends compared: lava; accuracy float not known; 0 overflows>"
    assert "sample 3, step 7, hidden, spikes" in page
    missing = Verification((), {"float": None}, {}, not_verified="no Lava " * 900)
    assert "NOT VERIFIED AGAINST LAVA" in shown(missing)[0]


def test_the_table_has_the_first_and_the_last_rows() -> None:
    class Long(Shown):
        def summary(self) -> Summary:
            return Summary("Long", ("é" * 5000,), ("a", "b"), [(row, "<é>" * 50) for row in range(5000)])

    _, page = shown(Long())
    assert "<td>0</td>" in page and "<td>4999</td>" in page and "more rows" in page and "<td>2500</td>" not in page


def test_dir_and_help_show_what_there_is() -> None:
    assert set(nmdeploy.__all__) <= set(dir(nmdeploy)) and "importlib" not in dir(nmdeploy)
    page = pydoc.plain(pydoc.render_doc(nmdeploy))
    assert "nmdeploy.quantize(network, data=inputs)" in page
    for name in nmdeploy.__all__:
        assert re.search(rf"^    (class )?{name}(\(| = )", page, re.M), name


def test_the_package_is_imported_without_the_rest() -> None:
    code = (
        "import sys, nmdeploy; dir(nmdeploy); "
        "assert not {'torch', 'numba', 'numpy', 'jinja2', 'h5py'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
