"""The public S4D layer's parameters: the recurrence equals the layer's convolution."""

from __future__ import annotations

import numpy as np
import pytest

from nmdeploy import NetworkBuilder
from nmdeploy.errors import BadOption
from nmdeploy.models import s4d
from nmdeploy.neurons.base import StepTime


def parameters(h: int = 5, n: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "log_dt": rng.uniform(np.log(0.01), np.log(0.3), h),
        "log_A_real": np.log(0.5 * np.ones((h, n))) + rng.normal(0, 0.1, (h, n)),
        "A_imag": np.pi * np.arange(n) * np.ones((h, 1)),
        "C": rng.normal(size=(h, n, 2)),
        "D": rng.normal(size=h),
    }


def test_the_recurrence_is_the_layers_convolution() -> None:
    p, steps = parameters(), 40
    u = np.random.default_rng(1).normal(size=(3, steps, 5))
    a = -np.exp(p["log_A_real"]) + 1j * p["A_imag"]
    z = np.exp(p["log_dt"])[:, None] * a
    c = (p["C"][..., 0] + 1j * p["C"][..., 1]) * (np.exp(z) - 1) / a
    kernel = 2 * np.einsum("hn,hnl->hl", c, np.exp(z[..., None] * np.arange(steps))).real
    y = np.stack([sum(kernel[:, k] * u[:, t - k] for k in range(t + 1)) for t in range(steps)], 1) + p["D"] * u
    neuron = s4d(**p, scale=2.0, shift=0.1)
    state = neuron.start(3)
    for t in range(steps):
        state, _ = neuron.step(state, u[:, t], StepTime(t, steps))
        np.testing.assert_allclose(state["y"][..., 0], 2 * y[:, t] + 0.1, rtol=1e-10, atol=1e-12)


def test_tensors_and_complex_c_are_the_same_population() -> None:
    torch = pytest.importorskip("torch")
    p = parameters()
    tensors = {key: torch.tensor(value, requires_grad=True) for key, value in p.items()}
    tensors["C"] = torch.view_as_complex(tensors["C"])
    assert s4d(**tensors, v_threshold=1.0) == s4d(**p, v_threshold=1.0)


def test_it_builds_into_a_network_and_wrong_shapes_are_refused() -> None:
    builder = NetworkBuilder(1.0)
    x = builder.input(3)
    layer = builder.population(s4d(**parameters(), v_threshold=0.1), "layer")
    builder.connect(x, layer, np.ones((5, 3)))
    assert builder.build().output == "layer"
    with pytest.raises(BadOption, match=r"log_dt \(5,\), log_A_real \(5, 4\), A_imag \(5, 4\), C \(5, 3\)"):
        s4d(**parameters() | {"C": parameters()["C"][:, :3]})
