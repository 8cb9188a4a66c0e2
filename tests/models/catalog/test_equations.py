"""Every model against its source's equations, written out here with NumPy, one neuron-step after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nmdeploy.models import create
from nmdeploy.models.catalog import neuron_models
from nmdeploy.models.modules.scan import identity

STEPS, H, STATES = 200, 6, 3
Array = Any
Reference = Callable[[dict[str, Array], Array], Array]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.log1p(np.exp(x))


def per_step(step: Callable[..., Array]) -> Reference:
    """A reference from ``step(p, dynamics, a) -> s``, dynamics a dict that it may change."""

    def run(p: dict[str, Array], a: Array) -> Array:
        dynamics: dict[str, Array] = {}
        return np.stack([step(p, dynamics, now) for now in a])

    return run


def membrane(p: dict[str, Array], a: Array) -> Array:
    """S4D by its recurrence."""
    continuous = -np.exp(p["log_a_real"]) + 1j * p["a_imag"]
    step = np.exp(p["log_dt"])[:, None]
    x, y = np.zeros(continuous.shape, complex), []
    for now in a:
        x = np.exp(step * continuous) * x + (np.exp(step * continuous) - 1) / continuous * now[:, None]
        y.append(2 * ((p["c"] @ [1, 1j]) * x).real.sum(1) + p["d"] * now)
    return np.stack(y)


@per_step
def lif_soft(p: dict[str, Array], m: dict[str, Array], a: Array) -> Array:
    leak = sigmoid(p["leak_logit"]) if "leak_logit" in p else 1.0
    u = leak * m.get("u", 0) + a
    s = u > softplus(p["threshold_raw"])
    m["u"] = u - softplus(p["threshold_raw"]) * s
    return s


@per_step
def lif_hard(p: dict[str, Array], m: dict[str, Array], a: Array) -> Array:
    u = sigmoid(p["leak_logit"]) * m.get("u", 0) + a
    s = u > softplus(p["threshold_raw"])
    m["u"] = np.where(s, 0, u)
    return s


@per_step
def cuba_lif(p: dict[str, Array], m: dict[str, Array], a: Array) -> Array:
    m["i"] = sigmoid(p["current_logit"]) * m.get("i", 0) + a
    v = sigmoid(p["leak_logit"]) * m.get("v", 0) + m["i"]
    s = v > softplus(p["threshold_raw"])
    m["v"] = np.where(s, 0, v)
    return s


@per_step
def alif(p: dict[str, Array], m: dict[str, Array], a: Array) -> Array:
    rho, b0, beta = sigmoid(p["adaptation_logit"]), softplus(p["threshold_raw"]), softplus(p["strength_raw"])
    u = sigmoid(p["leak_logit"]) * m.get("u", 0) + a
    b = rho * m.get("b", 0) + (1 - rho) * m.get("s", 0)
    s = u > b0 + beta * b
    m.update(u=u - b0 * s, b=b, s=s)
    return s


@per_step
def rf(p: dict[str, Array], m: dict[str, Array], a: Array) -> Array:
    before = m.get("z", 0j)
    angle = 2 * np.pi / np.exp(p["log_period"])
    z = sigmoid(p["decay_logit"]) * (np.cos(angle) + 1j * np.sin(angle)) * before + a
    m["z"] = z
    return (z.real >= softplus(p["threshold_raw"])) & (z.imag >= 0) & (np.imag(before) < 0)


@per_step
def tc_lif(p: dict[str, Array], m: dict[str, Array], a: Array) -> Array:
    vth, s = softplus(p["threshold_raw"]), m.get("s", 0)
    d = m.get("d", 0) - sigmoid(p["soma_logit"]) * m.get("u", 0) + a - p["feedback"] * s
    u = m.get("u", 0) + sigmoid(p["dendrite_logit"]) * d - vth * s
    m.update(d=d, u=u, s=u > vth)
    return m["s"]


@per_step
def dh_lif(p: dict[str, Array], m: dict[str, Array], a: Array) -> Array:
    alpha, beta, vth = sigmoid(p["branch_logit"]), sigmoid(p["leak_logit"]), softplus(p["threshold_raw"])
    m["i"] = alpha * m.get("i", 0) + (1 - alpha) * a.reshape(H, -1)
    v = beta * m.get("v", 0) + (1 - beta) * m["i"].sum(1)
    s = v > vth
    m["v"] = v - vth * s
    return s


@per_step
def counting(p: dict[str, Array], m: dict[str, Array], y: Array) -> Array:
    v = m.get("v", 0) + np.maximum(y, 0)
    m["v"] = v - np.maximum(np.ceil(v) - 1, 0)
    return v > 1


@per_step
def spiking_ssm(p: dict[str, Array], m: dict[str, Array], y: Array) -> Array:
    vth = softplus(p["threshold_raw"])
    v = sigmoid(p["leak_logit"]) * m.get("v", 0) + y
    s = v > vth
    m["v"] = v - vth * s
    return s


@per_step
def spike_ssm(p: dict[str, Array], m: dict[str, Array], y: Array) -> Array:
    vth = softplus(p["threshold_raw"])
    v = sigmoid(p["leak_logit"]) * m.get("v", 0) + y
    w = sigmoid(p["refractory_logit"]) * m.get("w", 0)
    s = v - w > vth
    m.update(v=v - vth * s, w=w + softplus(p["magnitude_raw"]) * s)
    return s


def psn_sliding(p: dict[str, Array], a: Array) -> Array:
    k = p["taps"].shape[1]
    padded = np.concatenate([np.zeros((k - 1, H)), a])
    y = np.stack([(p["taps"].T[::-1] * padded[t : t + k]).sum(0) for t in range(len(a))])
    return y > p["threshold"]


def h32(x: int) -> int:
    for _ in range(2):
        x = ((x >> 16) ^ x) * 0x45D9F3B % 2**32
    return (x >> 16) ^ x


def p_spike_ssm(p: dict[str, Array], a: Array) -> Array:
    y = membrane(p, a)
    draws = [[h32(h32(h32(0) ^ i) ^ t) >> 16 for i in range(H)] for t in range(len(a))]
    return np.clip(y, 0, 1) > np.array(draws) / 65536


def fixed_refractory(p: dict[str, Array], a: Array) -> Array:
    raw = np.concatenate([np.zeros((4, H)), membrane(p, a) > 0.5])
    kernel = np.array([-2, -2, -2, -2, 1])
    mask = np.stack([kernel @ raw[t : t + 5] for t in range(len(a))])
    return (raw[4:] > 0) & (mask > 0)


def windowed(p: dict[str, Array], a: Array) -> Array:
    y = membrane(p, a)
    padded = np.concatenate([y, np.zeros((-len(y) % 5, H))]).reshape(-1, 5, H)
    return np.repeat((padded * p["kernel_taps"].T).sum(1) > 0, 5, 0)[: len(y)]


@per_step
def multi_output(p: dict[str, Array], m: dict[str, Array], a: Array) -> Array:
    x = np.einsum("hij,hj->hi", p["a"], m.get("x", np.zeros((H, STATES)))) + p["b"][..., 0] * a[:, None]
    y = np.einsum("hkn,hn->hk", p["c"], x) + p["d"][..., 0] * a[:, None]
    s = y > softplus(p["threshold_raw"])
    m["x"] = x - p["r"].sum(-1) * s.any(1)[:, None]
    return s.ravel()


REFERENCES: dict[str, Reference] = {
    "if": lif_soft,
    "lif-soft": lif_soft,
    "lif-hard": lif_hard,
    "cuba-lif": cuba_lif,
    "alif": alif,
    "rf": rf,
    "tc-lif": tc_lif,
    "dh-lif": dh_lif,
    "pmsn": lambda p, a: counting(p, membrane(p, a)),
    "psn-sliding": psn_sliding,
    "binary-s4d": lambda p, a: membrane(p, a) > 0,
    "p-spike-ssm": p_spike_ssm,
    "spike-ssm": lambda p, a: spike_ssm(p, membrane(p, a)),
    "spiking-ssm": lambda p, a: spiking_ssm(p, membrane(p, a)),
    "fixed-refractory-ssm": fixed_refractory,
    "windowed-ssm": windowed,
    "multi-output": multi_output,
}


def test_every_model_of_the_package_has_a_reference() -> None:
    assert set(REFERENCES) == {name for name, each in neuron_models().items() if each.module.startswith("nmdeploy.")}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_neuron_follows_the_source(name: str) -> None:
    neuron: Any = create(name, inputs=1, channels=H, states=STATES, layers=1, outputs=2, seed=5).blocks[0].neuron
    neuron.double().eval()
    generator = torch.Generator().manual_seed(2)
    width = H * neuron_models()[name].inputs(neuron_models()[name].complete({}))
    a = 0.2 + 0.7 * torch.randn(1, STEPS, width, generator=generator, dtype=torch.float64)
    parameters = {key: value.detach().numpy() for key, value in neuron.state_dict().items()}
    expected = REFERENCES[name](parameters, a[0].numpy())
    with torch.no_grad():
        spikes = neuron(a, identity)[0].numpy()
    assert np.array_equal(spikes, expected)
    assert 0.01 < spikes.mean() < 0.8
