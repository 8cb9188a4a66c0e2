"""A small recurrent network built from NumPy arrays: exported, simulated, verified and reported.

Two populations of different families: leaky integrate-and-fire neurons that excite each other with a delay of two
steps, and complex state-space neurons with a soft reset and a refractory period, which feed back to the first
population. An integrator reads both out.

Usage::

    python network.py [folder]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import nmdeploy
from nmdeploy import LIF, Integrator, NetworkBuilder, StateSpace

CHANNELS, LIFS, RESONATORS, CLASSES = 12, 16, 8, 4
DT = 1e-3
FEEDBACK = 2  # steps: a loop through two populations needs a step for each of its synapses


def resonators(rng: np.random.Generator, neurons: int, states: int = 2) -> StateSpace:
    """Return neurons of damped oscillators; a spike subtracts from the states and silences for two steps."""
    decay = np.exp(-DT / rng.uniform(5e-3, 30e-3, (neurons, states)))
    turn = np.exp(2j * np.pi * DT * rng.uniform(10, 60, (neurons, states)))
    return StateSpace(
        a=decay * turn,
        b=np.ones((neurons, states, 1), dtype=complex),
        c=rng.normal(0, 1, (neurons, 1, states)) + 1j * rng.normal(0, 1, (neurons, 1, states)),
        d=np.zeros((neurons, 1, 1)),
        v_threshold=np.full((neurons, 1), 1.0),
        reset_condition="any",
        reset_action="soft",
        r=np.full((neurons, states, 1), 0.3, dtype=complex),
        refractory_steps=2,
        refractory_mode="mask",
    )


def build(rng: np.random.Generator) -> nmdeploy.Network:
    """Return the float network."""
    builder = NetworkBuilder(dt=DT)
    x = builder.input(CHANNELS)
    lif = builder.population(LIF(alpha=np.full(LIFS, 0.5), beta=0.9, v_threshold=1.0), name="lif")
    builder.connect(x, lif, weight=rng.normal(0.1, 0.3, (LIFS, CHANNELS)), bias=np.full(LIFS, 0.03))
    builder.connect(lif, lif, weight=rng.normal(0, 0.1, (LIFS, LIFS)), delay=2)
    res = builder.population(resonators(rng, RESONATORS), name="resonators")
    builder.connect(lif, res, weight=rng.normal(0, 0.4, (RESONATORS, LIFS)), bias=rng.normal(0, 0.05, RESONATORS))
    builder.connect(res, lif, weight=rng.normal(0, 0.2, (LIFS, RESONATORS)), delay=FEEDBACK)
    out = builder.population(Integrator(beta=np.full(CLASSES, 0.95)), name="readout")
    builder.connect(res, out, weight=rng.normal(0, 0.3, (CLASSES, RESONATORS)))
    builder.connect(lif, out, weight=rng.normal(0, 0.3, (CLASSES, LIFS)))
    return builder.build(output=out, readout="mean")


def samples(rng: np.random.Generator, count: int, steps: int = 60) -> dict[str, npt.NDArray[np.generic]]:
    """Return random input spikes; the class of a sample is the group of channels that is most active."""
    labels = rng.integers(0, CLASSES, count)
    rates = np.full((count, CHANNELS), 0.05)
    for sample, label in enumerate(labels):
        rates[sample, label * CHANNELS // CLASSES :][: CHANNELS // CLASSES] = 0.3
    return {"inputs": rng.random((count, steps, CHANNELS)) < rates[:, None], "labels": labels}


def main(folder: Path) -> int:
    """Take the network through the whole chain; return 0 if the compiled backend equals the reference."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    network, calibration, test = build(rng), samples(rng, 30), samples(rng, 10)

    for node in nmdeploy.check(network, "loihi2").nodes:
        print(f"{node.node} ({node.kind}): {node.problem or node.lost or 'nothing is lost'}")
    model_path = folder / "model.nir"
    exported = nmdeploy.export(network, model_path, profile="loihi2", data=calibration)
    print(f"{model_path}: {len(exported.mapped.cores)} cores", *exported.network.notes, sep="\n  ")

    recording_path = folder / "recording.h5"
    nmdeploy.simulate(model_path, test, recording_path, backend="reference", trace="states")
    recording = nmdeploy.run(exported.network, test, trace="states")
    for name in ("lif", "resonators"):
        layer = recording.layers[name]
        print(f"{name}: spike rate {layer.spikes.mean():.3f}, states {', '.join(sorted(layer.states))}")

    verified = nmdeploy.verify(model_path, test, against="compiled", floats=network)
    print("compiled equals reference:", verified.equal)
    nmdeploy.report(model_path, test, recording=recording_path, verification=verified, output=folder / "report.md")
    print((folder / "report.md").read_text())
    return 0 if verified.equal else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build")))
