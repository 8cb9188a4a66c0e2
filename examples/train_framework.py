"""Training of the networks of `examples/frameworks` on scikit-learn's digits, each within 3 minutes on one core.

    python -m examples.train_framework snntorch_defaults --out build/frameworks

writes ``snntorch_defaults.pt`` (the state dict), ``snntorch_defaults_calibration.npz`` (128 training samples) and
``snntorch_defaults.npz`` (450 test samples, which training never uses). An image has 64 pixels of 0 to 16. A sample is

    spikes     32 steps of 64 channels: a pixel p spikes in a step with the probability p / 16
    grey       32 steps of 64 channels, all the same: p / 16
    sequence   64 steps of one channel, pixel after pixel: p / 16
"""

from __future__ import annotations

import importlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from examples.train_digits import CALIBRATION_SAMPLES, split

FOLDER = Path(__file__).parent / "frameworks"
STEPS = 32
BATCH = 64
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Digits:
    """Samples (samples, steps, channels) and labels, of training and of the test."""

    inputs: Floats
    labels: npt.NDArray[np.int64]
    test_inputs: Floats
    test_labels: npt.NDArray[np.int64]


def names() -> list[str]:
    """Return the names of the networks: the files of `examples/frameworks`."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def network_file(name: str) -> ModuleType:
    """Return the module of a network."""
    return importlib.import_module(f"examples.frameworks.{name}")


def digits(form: str) -> Digits:
    """Return the digits as "spikes", "grey" or "sequence"."""
    held = split()
    one, other = (_formed(form, codes / 16, seed) for seed, codes in enumerate((held.inputs, held.test_inputs)))
    return Digits(one, held.labels, other, held.test_labels)


def _formed(form: str, pixels: npt.NDArray[np.float64], seed: int) -> Floats:
    """Return samples of the pixels (samples, 64, 1)."""
    repeated = np.repeat(pixels[:, None, :, 0], STEPS, axis=1)
    forms = {
        "spikes": np.random.default_rng(seed).random(repeated.shape) < repeated,
        "grey": repeated,
        "sequence": pixels,
    }
    return forms[form].astype(np.float32)


def train(name: str, epochs: int | None = None) -> tuple[Any, float]:
    """Return the trained network of a name, in evaluation mode, and the seconds of a core that training took."""
    torch.manual_seed(0)
    network = network_file(name)
    data = digits(network.DATA)
    x, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    net, epochs = network.make_net(), epochs or network.EPOCHS
    parameters = [each for _, each in net.named_parameters()]  # parameters() of Rockpool is a dictionary
    optimizer = torch.optim.Adam(parameters, lr=network.RATE)
    steps = -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, network.RATE, total_steps=epochs * steps)
    began = time.process_time()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.split(torch.randperm(len(x)), BATCH):
            loss = torch.nn.functional.cross_entropy(network.scores(net, x[chosen]), labels[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        click.echo(f"{name}: epoch {epoch + 1:3d}  loss {total / steps:.3f}")
    return net.eval(), time.process_time() - began


@torch.no_grad()
def accuracy(name: str, net: Any, inputs: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the accuracy of a network, run by its framework."""
    scores: Tensor = network_file(name).scores(net.eval(), torch.from_numpy(inputs))
    return float((scores.argmax(1).numpy() == labels).mean())


def write(name: str, net: Any, folder: Path) -> None:
    """Write the weights, calibration data and test data."""
    data = digits(network_file(name).DATA)
    some = slice(CALIBRATION_SAMPLES)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / f"{name}.pt")
    np.savez_compressed(folder / f"{name}_calibration.npz", inputs=data.inputs[some], labels=data.labels[some])
    np.savez_compressed(folder / f"{name}.npz", inputs=data.test_inputs, labels=data.test_labels)


@click.command()
@click.argument("name", type=click.Choice(names()))
@click.option("--epochs", default=None, type=int, help="Epochs.  [default: those of the network]")
@click.option("--out", default="build/frameworks", show_default=True, type=click.Path(path_type=Path))
def main(name: str, epochs: int | None, out: Path) -> None:
    """Train a network of examples/frameworks; write its weights, test data and calibration data."""
    torch.set_num_threads(1)
    net, seconds = train(name, epochs)
    write(name, net, out)
    data = digits(network_file(name).DATA)
    found = accuracy(name, net, data.test_inputs, data.test_labels)
    parameters = sum(each.numel() for _, each in net.named_parameters())
    held = {"data": network_file(name).DATA, "parameters": parameters, "seconds": seconds, "framework_accuracy": found}
    (out / f"{name}.json").write_text(json.dumps(held, indent=1) + "\n", "utf-8")
    click.echo(f"trained in {seconds:.0f} s of one core; test accuracy {found:.4f} ({len(data.test_labels)} samples)")
    click.echo(f"wrote {out / name}.pt and its data beside it")


if __name__ == "__main__":
    main()
