"""A module's result is the readout of its network, or it is refused: nothing on the way to the result is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
from live_modules import spikes

import nmdeploy
from nmdeploy.errors import ImportDiffers, UnsupportedParameter
from nmdeploy.importers.modules.comparison import ImportComparison
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import readout_values
from nmdeploy.network.read_options import ReadOptions

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")
nn, stack = torch.nn, torch.stack
IN, HIDDEN, OUT = 16, 30, 8
Steps = list[Any]


class Net(nn.Module):  # type: ignore[misc,name-defined]
    """Two layers; `result` makes what it returns of the spikes and the membranes of all steps."""

    def __init__(self, result: Callable[[Any, Steps, Steps], Any], **last: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.result = result
        self.fc1, self.lif1 = nn.Linear(IN, HIDDEN), snn.Leaky(beta=0.9, threshold=0.5)
        self.fc2, self.lif2 = nn.Linear(HIDDEN, OUT), snn.Leaky(**{"beta": 0.8, "threshold": 0.3} | last)
        self.fc3 = nn.Linear(OUT, 6)
        with torch.no_grad():
            self.fc3.bias.mul_(10)

    def forward(self, x: Any) -> Any:
        mem1, mem2, sent, held = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for step in range(x.shape[1]):
            spk1, mem1 = self.lif1(self.fc1(x[:, step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            sent.append(spk2)
            held.append(mem2)
        return self.result(self, sent, held)


def in_place(net: Any, sent: Steps, held: Steps) -> Any:
    found = torch.zeros(sent[0].shape)
    for each in sent:
        found += each
    return found


def assigned(axis: int) -> Callable[..., Any]:
    def result(net: Any, sent: Steps, held: Steps) -> Any:
        shape = [*sent[0].shape]
        shape.insert(axis, len(sent))
        found = torch.zeros(shape)
        for step, each in enumerate(sent):
            if axis:
                found[:, step] = each
            else:
                found[step] = each
        return found.sum(axis)

    return result


def masked(net: Any, sent: Steps, held: Steps) -> Any:
    for each in sent:
        each[:, :3] = 0
    return stack(sent).sum(0)


def without_the_first(net: Any, sent: Steps, held: Steps) -> Any:
    found = stack(sent)
    found[:5] = 0
    return found.sum(0)


READ: dict[str, Callable[..., Any]] = {
    "all steps": lambda net, s, m: stack(s),
    "steps second": lambda net, s, m: stack(s, 1),
    "sum": lambda net, s, m: stack(s).sum(0),
    "mean": lambda net, s, m: stack(s).mean(0),
    "max": lambda net, s, m: stack(s).max(0)[0],
    "last": lambda net, s, m: s[-1],
    "sum over a factor": lambda net, s, m: stack(s).sum(0) / 7,
    "membrane, last": lambda net, s, m: m[-1],
    "membrane, largest": lambda net, s, m: stack(m).max(0)[0],
    "membrane, sum": lambda net, s, m: stack(m).sum(0),
    "layer after the mean": lambda net, s, m: net.fc3(stack(s).mean(0)),
    "layer after each step": lambda net, s, m: stack([net.fc3(each) for each in s]).sum(0),
    "factor per class": lambda net, s, m: sum(each * torch.linspace(0.1, 2, OUT, dtype=each.dtype) for each in s),
    "in place": in_place,
    "assigned": assigned(0),
    "assigned, steps second": assigned(1),
    "lists of steps": lambda net, s, m: (s, m),
    "cast by a type": lambda net, s, m: stack(m).sum(0).type(torch.FloatTensor),
    "another result in bfloat16": lambda net, s, m: (stack(s).sum(0), stack(m).bfloat16()),
}
REFUSED: dict[str, Callable[..., Any]] = {
    "layer after the sum": lambda net, s, m: net.fc3(stack(s).sum(0)),
    "layer after the largest": lambda net, s, m: net.fc3(stack(s).max(0)[0]),
    "largest, negative": lambda net, s, m: -stack(s).max(0)[0],
    "layer on a membrane": lambda net, s, m: net.fc3(m[-1]),
    "negative membrane": lambda net, s, m: -stack(m).sum(0),
    "spikes and membrane": lambda net, s, m: (stack(s) + 0.1 * stack(m)).sum(0),
    "one step": lambda net, s, m: s[5],
    "one membrane": lambda net, s, m: m[5],
    "two steps": lambda net, s, m: s[-1] + s[0],
    "after a start": lambda net, s, m: sum(s[5:]),
    "stacked after a start": lambda net, s, m: stack(s[5:]).sum(0),
    "leaky sum": lambda net, s, m: reduce(lambda a, b: 0.9 * a + b, s),
    "classes switched off": masked,
    "first steps switched off": without_the_first,
    "classes in another order": lambda net, s, m: stack(s).sum(0).view(-1, 2, 4).transpose(1, 2).flatten(1),
    "rounded": lambda net, s, m: torch.div(stack(s).sum(0), 4, rounding_mode="floor"),
    "nothing but zeros": lambda net, s, m: torch.div(stack(s).sum(0), 40, rounding_mode="floor"),
    "a first result that is lost": lambda net, s, m: (torch.log_softmax(stack(m).sum(0), 1), stack(s)),
}


def values(result: Callable[..., Any], x: Any, **last: Any) -> Any:
    with torch.no_grad():
        found = Net(result, **last)(torch.as_tensor(x, dtype=torch.float32))
        while isinstance(found, tuple):
            found = found[0]
        return stack(found).numpy() if isinstance(found, list) else found.numpy()


@pytest.mark.parametrize("name", READ)
def test_results_that_are_read(name: str) -> None:
    x = spikes(IN)
    network = nmdeploy.load(Net(READ[name]), x)
    expected, outputs = values(READ[name], x), run_float(network, x).output
    if expected.ndim == 3:
        outputs = outputs if name == "steps second" else outputs.swapaxes(0, 1)
    else:
        outputs = readout_values(outputs, network.readout)
    factor = 7 if name == "sum over a factor" else 1
    np.testing.assert_allclose(np.asarray(outputs, np.float64), factor * expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_results_that_are_refused(name: str) -> None:
    with pytest.raises((ImportDiffers, UnsupportedParameter)):
        nmdeploy.load(Net(REFUSED[name]), spikes(IN))


def test_a_result_that_is_no_readout_is_named() -> None:
    words = r"0 of \d[\d,]* spikes differ, but what the module returns is not sum over the steps of 'lif2' \(off by"
    with pytest.raises(ImportDiffers, match=words):
        nmdeploy.load(Net(REFUSED["rounded"]), spikes(IN))


def test_a_later_result_is_read_if_the_user_chooses_a_readout() -> None:
    lost = REFUSED["a first result that is lost"]
    with pytest.raises(UnsupportedParameter, match=r"log_softmax\(\).*give --readout to read its next result"):
        nmdeploy.load(Net(lost), spikes(IN))
    assert nmdeploy.load(Net(lost), spikes(IN), options=ReadOptions(readout="sum")).output == "lif2"


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_membranes_after_a_reset_are_refused(reset: str) -> None:
    """With reset_delay=False snnTorch returns the membrane after its reset; a readout has the one before it."""
    last = {"reset_mechanism": reset, "reset_delay": False, "threshold": 0.9}
    with pytest.raises(ImportDiffers, match="what the module returns is not membrane-last"):
        nmdeploy.load(Net(READ["membrane, last"], **last), spikes(IN))


@pytest.mark.parametrize("factor", [torch.linspace(0.2, 3, OUT), -1.5])
def test_factors_of_the_output_that_change_the_classes_are_refused(factor: Any) -> None:
    with pytest.raises(ImportDiffers, match="what the module returns is not sum"):
        nmdeploy.load(Net(READ["sum"], graded_spikes_factor=factor), spikes(IN))


NONE = {"reset_mechanism": "none"}
WITHOUT_RESET: dict[str, Callable[[], Any]] = {
    "Synaptic": lambda: snn.Synaptic(alpha=0.6, beta=0.8, **NONE),
    "Alpha": lambda: snn.Alpha(alpha=0.8, beta=0.6, **NONE),
    "RLeaky": lambda: snn.RLeaky(beta=0.8, linear_features=OUT, **NONE),
    "RSynaptic": lambda: snn.RSynaptic(alpha=0.5, beta=0.8, linear_features=OUT, **NONE),
}


@pytest.mark.parametrize("kind", WITHOUT_RESET)
def test_the_last_membrane_of_layers_without_reset(kind: str) -> None:
    class One(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.n = nn.Linear(IN, OUT), WITHOUT_RESET[kind]()

        def forward(self, x: Any) -> Any:
            state, held = self.n.reset_mem(), []
            state = state if isinstance(state, tuple) else (state,)
            for step in range(x.shape[1]):
                out = self.n(self.fc(x[:, step]), *state)
                state = out if kind.startswith("R") else out[1:]
                held.append(out[-1])
            return held[-1]

    x = spikes(IN)
    network = nmdeploy.load(One(), x)
    with torch.no_grad():
        expected = One()(torch.as_tensor(x, dtype=torch.float32)).numpy()
    actual = readout_values(run_float(network, x).output, network.readout)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_numbers_that_a_module_takes_out_of_a_tensor_are_noted() -> None:
    class Normed(Net):
        def forward(self, x: Any) -> Any:
            return super().forward(x / (x.sum().item() / 500))

    for make, noted in ((Normed, True), (Net, False)):
        reading = nmdeploy.load(make(READ["sum"]), spikes(IN)).read_as
        assert reading is not None
        assert any("takes numbers or decisions out of its tensors (item())" in note for note in reading.notes) == noted


@pytest.mark.parametrize(
    "result",
    [
        lambda net, s, m: stack(s).squeeze(1),
        lambda net, s, m: stack(s, 1).squeeze(),
        lambda net, s, m: stack(s).squeeze().sum(0),
        lambda net, s, m: s[-1].squeeze(),
    ],
)
def test_one_sample_whose_axis_is_gone(result: Callable[..., Any]) -> None:
    network = nmdeploy.load(Net(result), spikes(IN)[:1])
    assert network.read_as is not None and network.read_as.comparison["equal"]


def test_a_difference_in_float32_that_rounding_does_not_explain() -> None:
    found = ImportComparison("snnTorch", 1, 10, 100, 0, None, 0.0, "sum of 'n'", None, (), 3, 9e-7)
    far = replace(found, float32_margin=2e-6)
    assert found.equal and not far.equal
    assert "in float32 a neuron differs 2e-06 from its threshold (relative), over 1e-06" in far.line()
