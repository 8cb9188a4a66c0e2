"""Rules of --reset, --decay and --from against loops in plain Python, exact ties among them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from nmdeploy import pipeline
from nmdeploy.errors import BadOption, DoesNotFit, UnsupportedParameter
from nmdeploy.importers import nir as importer
from nmdeploy.importers.frameworks import BY_NAME
from nmdeploy.importers.meaning import Meaning
from nmdeploy.importers.resets import MAKE, Membrane, with_reset
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import FRAMEWORKS, ReadOptions
from nmdeploy.neurons.base import Neuron, StepTime

RULES = tuple(MAKE)
STEPS = 60


def simulated(rule: str, m: Membrane, a: Any) -> Any:
    """Spikes (steps, H) by the equations of `nmdeploy.importers.resets`."""
    u, v, fired = (np.zeros(m.beta.size) for _ in range(3))
    out = []
    for now in a:
        u = m.alpha * u + now
        v = m.beta * v + u + m.bias
        if rule == "subtract-delayed":
            v = v - m.v_threshold * fired
        if rule == "zero-delayed":
            v = np.where(fired > 0, 0, v)
        s = v >= m.v_threshold if m.at_threshold else v > m.v_threshold
        fired = s.astype(float)
        out.append(fired)
        if rule in ("zero", "zero-delayed"):
            v = np.where(s, 0, v)
        if rule == "subtract":
            v = v - m.v_threshold * fired
    return np.array(out)


def stepped(neuron: Neuron, a: Any) -> Any:
    """Spikes (steps, H) of the float population."""
    state, out = neuron.start(1), []
    for step, now in enumerate(a):
        state, s = neuron.step(state, now[None], StepTime(step, len(a)))
        out.append(s[0].astype(float))
    return np.array(out)


@pytest.mark.parametrize("at_threshold", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.75])
@pytest.mark.parametrize("rule", RULES)
def test_a_population_follows_its_rule(rule: str, alpha: float, at_threshold: bool) -> None:
    """Dyadic values, so that ties are exact and frequent."""
    rng, h = np.random.default_rng(3), 12
    beta = rng.choice([1.0, 0.5, 0.75], h)
    bias = np.zeros(h) if alpha else rng.choice([0, 0.125], h)
    m = Membrane(np.full(h, alpha), beta, rng.choice([0.5, 1.0], h), bias, at_threshold)
    a = rng.choice([-0.25, 0, 0.25, 0.5], (STEPS, h))
    expected = simulated(rule, m, a)
    assert 0.02 < expected.mean() < 0.98
    if rule == "subtract-delayed":  # th / 0.75 is not exact
        m = Membrane(m.alpha, np.where(beta == 0.75, 0.5, beta), m.v_threshold, bias, at_threshold)
        expected = simulated(rule, m, a)
    assert np.array_equal(stepped(with_reset("n", rule, m), a), expected)
    other = Membrane(m.alpha, m.beta, m.v_threshold, m.bias, not at_threshold)
    assert (simulated(rule, other, a) != expected).any(), "no ties"


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("beta", [0.0, 1 / 32])
def test_a_delayed_subtraction_works_at_a_very_small_beta(alpha: float, beta: float) -> None:
    rng, h = np.random.default_rng(4), 8
    m = Membrane(np.full(h, alpha), np.full(h, beta), np.ones(h), np.zeros(h))
    a = rng.choice([0, 0.75, 1.5], (STEPS, h))
    neuron = with_reset("n", "subtract-delayed", m)
    assert neuron.kind == "dense_state_space" and np.array_equal(
        stepped(neuron, a), simulated("subtract-delayed", m, a)
    )
    with pytest.raises(UnsupportedParameter, match="v_leak = 0"):
        with_reset("n", "subtract-delayed", Membrane(m.alpha + 0.5, m.beta, m.v_threshold, m.bias + 0.1))


def lif(**changes: Any) -> nir.LIF:
    values = {"tau": 5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0} | changes
    return nir.LIF(**{key: np.full(4, float(v)) for key, v in values.items()})


def cuba(**changes: Any) -> nir.CubaLIF:
    values = {"tau_syn": 4e-3, "tau_mem": 8e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1} | changes
    return nir.CubaLIF(**{key: np.full(4, float(v)) for key, v in values.items()})


def graph(*nodes: Any) -> nir.NIRGraph:
    """Input, Linear, the populations with Linear nodes between them, Output."""
    rng, parts = np.random.default_rng(0), {"input": nir.Input(np.array([3]))}
    for index, node in enumerate(nodes):
        parts |= {f"w{index}": nir.Linear(rng.normal(0.7, 1, (4, 4 if index else 3))), f"n{index}": node}
    parts["output"] = nir.Output(np.array([4]))
    names = list(parts)
    return nir.NIRGraph(parts, list(pairwise(names)), type_check=False)


Load = Callable[..., Network]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(g: nir.NIRGraph, **options: Any) -> Network:
        nir.write(tmp_path / "g.nir", g)
        return importer.load(tmp_path / "g.nir", ReadOptions(**options))

    return write_and_load


def weights(network: Network, name: str = "w0") -> Any:
    return network.synapses[name].weight  # type: ignore[attr-defined]


def test_exponential_decays(load: Load) -> None:
    """1 - exp(-dt/tau) takes the place of dt/tau, in decays, gain and leak."""
    for node, share in ((lif(v_leak=0.25), 1 / 5), (cuba(), 1 / 8)):
        euler, exact = load(graph(node), dt=1e-3), load(graph(node), dt=1e-3, decay="exponential")
        e, x = euler.populations["n0"], exact.populations["n0"]
        assert np.allclose(e.beta, 1 - share) and np.allclose(x.beta, np.exp(-share))  # type: ignore[attr-defined]
        enters = (1 if node.__class__ is nir.LIF else (1 - np.exp(-1 / 4)) / (1 / 4)) * (1 - np.exp(-share)) / share
        assert np.allclose(weights(exact), enters * weights(euler))
    assert np.allclose(load(graph(cuba()), dt=1e-3, decay="exponential").populations["n0"].alpha, np.exp(-1 / 4))  # type: ignore[attr-defined]


def test_resets_by_population(load: Load) -> None:
    g = graph(lif(), lif(), lif())
    network = load(g, dt=1e-3, resets={"": "subtract", "n1": "zero", "n2": "none"})
    assert [n.kind for n in network.populations.values()] == ["dense_state_space", "lif", "dense_state_space"]
    assert network.populations["n2"].reset_action == "none"  # type: ignore[attr-defined]
    with pytest.raises(BadOption, match=r"--reset w0=zero: there is no spiking population 'w0', only 'n0', 'n1', 'n2'"):
        load(g, dt=1e-3, resets={"w0": "zero"})


def test_subtracts_the_way_from_reset_to_threshold(load: Load) -> None:
    network = load(graph(lif(v_leak=0.25, v_reset=0.25)), dt=1e-3, resets={"": "subtract"})
    assert np.allclose(network.populations["n0"].r, 0.25)  # type: ignore[attr-defined]
    reading = network.read_as
    assert (
        reading is not None
        and reading.populations["n0"]["reset"].value == "0.25 is subtracted in the same step, starts at 0.25"
    )


def test_every_framework_has_a_meaning() -> None:
    assert set(BY_NAME) == set(FRAMEWORKS)


def test_an_option_wins_over_the_framework(load: Load) -> None:
    g = graph(lif(tau=1e-3, r=10.0))
    ours = Meaning(ReadOptions(framework="snntorch", decay="exponential", resets={"n0": "none"}), 1e-4)
    assert ours.decay == "exponential" and ours.reset("n0") == "none" and ours.reset("n1") == "subtract-delayed"
    assert load(g, framework="snntorch").dt == 1e-4 and load(g, framework="snntorch", dt=5e-4).dt == 5e-4


@pytest.mark.parametrize(
    ("options", "reset", "threshold"),
    [
        ({}, "assumed", "assumed"),
        ({"resets": {"": "zero"}}, "option", "assumed"),
        ({"framework": "norse"}, "option", "option"),
    ],
)
def test_a_file_says_neither_reset_nor_comparison(
    options: dict[str, Any], reset: str, threshold: str, load: Load
) -> None:
    reading = load(graph(lif()), dt=1e-3, **options).read_as
    assert reading is not None
    facts = reading.populations["n0"]
    assert (facts["reset"].by, facts["threshold"].by) == (reset, threshold)


def test_membranes_that_are_counted_from_unlike_resets_are_not_read(load: Load) -> None:
    unlike = nir.LIF(
        tau=np.full(4, 5e-3),
        r=np.ones(4),
        v_leak=np.linspace(-1, 1, 4),
        v_threshold=np.linspace(-1, 1, 4) + 1,
        v_reset=np.linspace(-1, 1, 4),
    )
    with pytest.raises(UnsupportedParameter, match="which is -1 to 1 here: give --readout sum"):
        load(graph(unlike), dt=1e-3, readout="membrane-last")
    assert load(graph(unlike), dt=1e-3, readout="sum").readout == "sum"
    assert load(graph(lif(v_reset=-1, v_leak=-1)), dt=1e-3, readout="membrane-last").readout == "membrane-last"


@pytest.mark.parametrize("framework", ["sinabs", "rockpool", "spikingjelly"])
def test_frameworks_that_are_not_here(framework: str, load: Load) -> None:
    """Their exporters' numbers give back the decays and gains with which they compute."""
    dt, keep = {"sinabs": 1.0, "rockpool": 1e-3, "spikingjelly": 1e-4}[framework], 0.8
    if framework == "spikingjelly":  # v + x - v / tau
        node, gain = lif(tau=dt / (1 - keep), r=1 / (1 - keep)), 1.0
    elif framework == "sinabs":  # alpha v + (1 - alpha) x
        node, gain = lif(tau=-dt / np.log(keep)), 1 - keep
    else:  # alpha v + x
        tau = -dt / np.log(keep)
        node, gain = lif(tau=tau, r=tau * keep / dt), 1.0
    network = load(graph(node), framework=framework)
    neuron, reset = network.populations["n0"], BY_NAME[framework].reset
    assert np.isclose(network.dt, dt) and np.allclose(weights(network), gain * weights(load(graph(lif()), dt=5e-3)))
    assert neuron.at_threshold and (neuron.kind == "lif") == (reset == "zero")  # type: ignore[attr-defined]
    assert np.allclose(neuron.kept() if reset == "subtract" else neuron.beta, keep)  # type: ignore[attr-defined]


def test_a_gain_in_a_file_of_sinabs_says_norm_input(load: Load) -> None:
    def noted(r: float) -> bool:
        notes = load(graph(lif(tau=5.0, r=r)), framework="sinabs").read_as.notes  # type: ignore[union-attr]
        return any("node 'n0': r = 1, as Sinabs writes every LIF" in note for note in notes)

    assert noted(1.0) and not noted(5.5)


def test_rockpools_current(load: Load) -> None:
    """u <- beta_syn (u + a), v <- alpha v + u; its file lacks w_in, and dt is in its r."""
    dt, tau_syn, tau_mem = 1e-3, 10e-3, 20e-3
    g = graph(cuba(tau_syn=tau_syn, tau_mem=tau_mem, r=tau_mem * np.exp(-dt / tau_mem) / dt))
    network = load(g, framework="rockpool")
    assert np.isclose(network.dt, dt, rtol=1e-5)
    neuron: Any = network.populations["n0"]
    assert np.allclose(neuron.a.ravel(), np.exp(-dt / tau_syn)) and np.allclose(neuron.leak, np.exp(-dt / tau_mem))
    assert np.allclose(weights(network), np.exp(-dt / tau_syn) * np.random.default_rng(0).normal(0.7, 1, (4, 3)))
    assert "--from rockpool" in " ".join(load(g, dt=1e-3).read_as.notes)  # type: ignore[union-attr]


def test_a_file_of_norses_cells_is_recognized(load: Load) -> None:
    notes = load(graph(cuba()), dt=1e-3).read_as.notes  # type: ignore[union-attr]
    assert any("node 'n0': w_in = 1 and r = 1, as Norse" in note and "--from norse" in note for note in notes)
    assert not any("Norse" in note for note in load(graph(cuba(w_in=4.0)), dt=1e-3).read_as.notes)  # type: ignore[union-attr]
    own = load(graph(cuba()), framework="norse")
    assert np.allclose(weights(own), weights(load(graph(cuba(w_in=4.0)), dt=1e-3)))


TIMES = [
    (lif(tau=20.0), 1e-3, "--dt 1"),
    (lif(tau=0.02, r=200.0), 1e-6, "--dt 0.0001"),
    (lif(tau=0.02), 1e-6, "--dt 0.001"),
    (lif(tau=0.02), 0.1, "--dt 0.001"),
    (lif(tau=0.02, r=200.0), 0.1, "--dt 0.0001"),
    (lif(tau=1e-5), 1e-3, "--from norse"),
    (cuba(tau_syn=5e-6, tau_mem=1e-5), 1e-3, "--from norse"),
    (lif(tau=0.02, r=0.02 * np.exp(-0.05) / 1e-3), 0.1, "--from rockpool with --dt 0.001"),
    (nir.IF(r=np.ones(4), v_threshold=np.ones(4)), 1e-3, "--dt 1"),
]


@pytest.mark.parametrize(("node", "dt", "remedy"), TIMES)
def test_a_wrong_dt_is_named_first_with_the_one_that_the_numbers_suggest(
    node: Any, dt: float, remedy: str, load: Load, tmp_path: Path
) -> None:
    try:
        network = load(graph(node), dt=dt)
    except UnsupportedParameter as error:
        found = str(error)
        assert "shorter than dt" in found
    else:
        assert network.read_as is not None and network.read_as.doubt is not None
        found = network.read_as.doubt
    assert f"suggest{'s' if ' r ' in found or 'r = 1' in found else ''} {remedy}" in found and f"dt = {dt:g} s" in found
    words = remedy.split()
    chosen: dict[str, Any] = {"framework": words[words.index("--from") + 1]} if "--from" in words else {}
    chosen |= {"dt": float(words[words.index("--dt") + 1])} if "--dt" in words else {}
    cured = load(graph(node), **chosen)
    assert cured.read_as is not None and cured.read_as.doubt is None


def test_a_doubtful_dt_is_blamed_before_a_problem_that_it_causes(load: Load, tmp_path: Path) -> None:
    load(graph(lif(tau=1.0, v_threshold=-1.0)), dt=1e-4)
    with pytest.raises(
        UnsupportedParameter, match=r"every time constant is longer than 1,000 steps.*: node 'n0': v_th"
    ):
        pipeline.export(tmp_path / "g.nir", tmp_path / "m.nir", reading=ReadOptions(dt=1e-4))


def test_a_usual_file_raises_no_doubt(load: Load) -> None:
    for node in (lif(), cuba(), nir.IF(r=np.full(4, 1e3), v_threshold=np.ones(4))):
        reading = load(graph(node), dt=1e-3).read_as
        assert reading is not None and reading.doubt is None


@pytest.mark.parametrize("rule", RULES)
def test_integers_meet_exact_ties(rule: str, load: Load) -> None:
    """Weights of one magnitude and no leak: float and integers spike alike at exact ties, with > as with >=."""
    rng = np.random.default_rng(1)
    g = graph(nir.IF(r=np.ones(4), v_threshold=np.ones(4)))
    g.nodes["w0"].weight = rng.choice([-0.5, 0.5, 0.5], (4, 3))
    x = (rng.random((5, STEPS, 3)) < 0.5).astype(np.float64)
    counts = []
    for framework in (None, "spikingjelly"):
        network = load(g, dt=1.0, resets={"": rule}, framework=framework)
        q = pipeline.quantize(network, "loihi2", {"inputs": x})
        spikes = pipeline.run(q, {"inputs": x}).output.astype(int)
        assert np.array_equal(spikes, run_float(network, x).output.astype(int))
        counts.append(int(spikes.sum()))
    assert 0 < counts[0] < counts[1]


def test_a_threshold_with_leak_says_how_exact_it_is(load: Load) -> None:
    network = load(graph(lif()), dt=1e-3, framework="spikingjelly")
    assert any("(>=)" in note for note in pipeline.quantize(network, "loihi1").notes)


def test_a_rule_that_the_chip_does_not_run_is_refused_by_name(load: Load, tmp_path: Path) -> None:
    load(graph(lif()), dt=1e-3)
    reading = ReadOptions(dt=1e-3, resets={"": "subtract"})
    with pytest.raises(DoesNotFit, match=r"'n0'.*0\.5 is subtracted in the same step, which --reset or --from chose"):
        pipeline.export(tmp_path / "g.nir", tmp_path / "m.nir", "loihi1", reading=reading)
    found = pipeline.check(tmp_path / "g.nir", "loihi1", reading=reading)
    assert not found.deployable and "is subtracted" in str(found.nodes[-1].problem)
