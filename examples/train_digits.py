"""Trains a binary-spiking S4D network on scikit-learn's digits, about a minute on two cores.

    python examples/train_digits.py --out digits.safetensors

Each 8 x 8 image is a sequence of 64 steps with one channel, pixel after pixel: codes 0 to 16, values code / 16. The
checkpoint, its test data (``digits.npz``, 450 samples that training never saw) and calibration data
(``digits_calibration.npz``, 128 training samples) are what `nmdeploy demo` deploys.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.models import create
from nmdeploy.models.checkpoint import save
from nmdeploy.models.spiking_state_space import SpikingStateSpace

FORMAT = FixedPoint(bits=5, frac=4, signed=False)
TEST_SAMPLES = 450
CALIBRATION_SAMPLES = 128
SPLIT_SEED = 0
RATE = 0.12
SHARPNESS = 4.0
DYNAMICS = ("log_a_real", "a_imag", "log_dt")


@dataclass(frozen=True)
class Split:
    """Codes (samples, 64, 1) uint8 and labels (samples,) of the training and the test samples."""

    inputs: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    test_inputs: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]


def split() -> Split:
    """A fixed, stratified quarter of the digits for testing."""
    digits = load_digits()
    codes = digits.images.reshape(-1, 64, 1).astype(np.uint8)
    inputs, test_inputs, labels, test_labels = train_test_split(
        codes, digits.target, test_size=TEST_SAMPLES, stratify=digits.target, random_state=SPLIT_SEED
    )
    return Split(inputs, labels, test_inputs, test_labels)


def values(codes: npt.NDArray[np.uint8]) -> Tensor:
    """What the network sees of the codes."""
    return torch.from_numpy(FORMAT.dequantize(codes)).float()


def objective(module: SpikingStateSpace, x: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the sharpened logits, plus what each block's spike rate exceeds the target rate by."""
    logits, spikes = module(x)
    excess = torch.stack([torch.relu(s.mean() - RATE) for s in spikes]).sum()
    return torch.nn.functional.cross_entropy(SHARPNESS * logits, labels) + excess


def train(module: SpikingStateSpace, data: Split, epochs: int, rate: float = 0.01, batch: int = 64) -> None:
    """AdamW under a one-cycle schedule; the dynamics learn slower and without decay."""
    dynamics = [p for name, p in module.named_parameters() if name.endswith(DYNAMICS)]
    weights = [p for name, p in module.named_parameters() if not name.endswith(DYNAMICS)]
    groups = [{"params": dynamics, "lr": 0.3 * rate, "weight_decay": 0.0}, {"params": weights, "lr": rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    x, labels = values(data.inputs), torch.from_numpy(data.labels)
    steps = -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [0.3 * rate, rate], total_steps=epochs * steps)
    for epoch in range(epochs):
        module.train()
        total = 0.0
        for chosen in torch.split(torch.randperm(len(x)), batch):
            loss = objective(module, x[chosen], labels[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item()
        if epoch % 5 == 4 or epoch == epochs - 1:
            accuracy, _ = evaluate(module, x, labels)
            click.echo(f"epoch {epoch + 1:3d}  loss {total / steps:.3f}  training accuracy {accuracy:.4f}")


@torch.no_grad()
def evaluate(module: SpikingStateSpace, x: Tensor, labels: Tensor) -> tuple[float, list[float]]:
    """Accuracy, and each block's spikes a neuron and step."""
    module.eval()
    logits, spikes = module(x)
    return float((logits.argmax(1) == labels).float().mean()), [float(s.mean()) for s in spikes]


def write(module: SpikingStateSpace, data: Split, out: Path) -> None:
    """Checkpoint, test data and calibration data, beside each other."""
    save(module, out, input_format=FORMAT, dt=0.001)
    some = slice(CALIBRATION_SAMPLES)
    np.savez_compressed(out.with_name(f"{out.stem}.npz"), inputs=data.test_inputs, labels=data.test_labels)
    np.savez_compressed(
        out.with_name(f"{out.stem}_calibration.npz"), inputs=data.inputs[some], labels=data.labels[some]
    )


@click.command()
@click.option("--epochs", default=40, show_default=True)
@click.option("--channels", default=64, show_default=True, help="Neurons a layer.")
@click.option("--states", default=8, show_default=True, help="Stored complex states a neuron.")
@click.option("--layers", default=3, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", default="digits.safetensors", show_default=True, type=click.Path(dir_okay=False, path_type=Path))
def main(epochs: int, channels: int, states: int, layers: int, seed: int, out: Path) -> None:
    """Train on scikit-learn's digits; write the checkpoint, test data and calibration data."""
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    data = split()
    sizes = {"inputs": 1, "channels": channels, "states": states, "layers": layers, "outputs": 10}
    module = create("binary-s4d", **sizes, seed=seed, dropout=0.1)
    began = time.perf_counter()
    train(module, data, epochs)
    seconds = time.perf_counter() - began
    accuracy, rates = evaluate(module, values(data.test_inputs), torch.from_numpy(data.test_labels))
    write(module, data, out)
    click.echo(f"trained in {seconds:.0f} s; test accuracy {accuracy:.4f} ({len(data.test_labels)} samples)")
    click.echo("spike rate a layer: " + ", ".join(f"{rate:.3f}" for rate in rates))
    click.echo(f"wrote {out} ({out.stat().st_size} bytes) and its data beside it")


if __name__ == "__main__":
    main()
