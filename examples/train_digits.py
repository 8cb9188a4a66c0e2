"""Training of a network of any of the models on scikit-learn's digits, a few minutes on two cores.

    python examples/train_digits.py --out digits.safetensors
    python examples/train_digits.py --model rf --option KEY=VALUE --out rf.safetensors --curve rf.json

Each 8 x 8 image is a sequence of 64 steps with one channel, pixel after pixel: codes 0 to 16, values code / 16. It
writes the checkpoint, its test data (``digits.npz``, 450 samples that training never used) and calibration data
(``digits_calibration.npz``, 128 training samples). `nmdeploy demo` deploys such files.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from nmdeploy.errors import BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.models import create
from nmdeploy.models.catalog import neuron_model, neuron_models
from nmdeploy.models.checkpoint import save
from nmdeploy.models.modules import predicted
from nmdeploy.models.modules.scan import COMPILERS, find_compiler
from nmdeploy.models.modules.spiking_network import SpikingNetwork

FORMAT = FixedPoint(bits=5, frac=4, signed=False)
TEST_SAMPLES = 450
CALIBRATION_SAMPLES = 128
FITTED_SAMPLES = 128  # for the fit of approximation "predicted" before each epoch
SPLIT_SEED = 0
SHARPNESS = 4.0
DYNAMICS = ("log_a_real", "a_imag", "log_dt", "_logit", "_raw")
EVERY = 5  # epochs between points of the learning curve


@dataclass(frozen=True)
class Recipe:
    """Settings of training: learning rate, free spikes per neuron and step, largest norm of the gradient.

    `compiled` compiles the scan over the steps, for models without a parallel form, if there is a C++ compiler.
    """

    epochs: int = 25
    rate: float = 0.01
    states: int = 8
    free_spikes: float = 0.12
    largest_gradient: float | None = None
    dropout: float = 0.1
    compiled: bool = False


# Resets make gradients grow over the steps: without a limit on their norm these learn slowly or not at all.
RESETTING = Recipe(epochs=50, rate=0.015, free_spikes=0.3, largest_gradient=0.3, dropout=0.0, compiled=True)
SCANNED = Recipe(epochs=25, largest_gradient=0.5, compiled=True)
RECIPES = {
    **dict.fromkeys(("lif-hard", "lif-soft"), RESETTING),
    **dict.fromkeys(("if", "cuba-lif", "alif", "rf"), replace(RESETTING, epochs=80)),
    **dict.fromkeys(("tc-lif", "dh-lif", "spike-ssm", "spiking-ssm"), SCANNED),
    "binary-s4d": Recipe(epochs=40),
    "multi-output": Recipe(epochs=20, states=4, largest_gradient=0.5),
}


@dataclass(frozen=True)
class Split:
    """Codes (samples, 64, 1) uint8 and labels (samples,) of the training and the test samples."""

    inputs: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    test_inputs: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Point:
    """A point of the learning curve after an epoch: its mean loss, and accuracies."""

    epoch: int
    loss: float
    training_accuracy: float
    test_accuracy: float


def split() -> Split:
    """Return the digits with a fixed, stratified quarter for testing."""
    digits = load_digits()
    codes = digits.images.reshape(-1, 64, 1).astype(np.uint8)
    inputs, test_inputs, labels, test_labels = train_test_split(
        codes, digits.target, test_size=TEST_SAMPLES, stratify=digits.target, random_state=SPLIT_SEED
    )
    return Split(inputs, labels, test_inputs, test_labels)


def values(codes: npt.NDArray[np.uint8]) -> Tensor:
    """Return the network's input values for the codes."""
    return torch.from_numpy(FORMAT.dequantize(codes)).float()


def objective(module: SpikingNetwork, x: Tensor, labels: Tensor, free_spikes: float) -> Tensor:
    """Return the cross-entropy of the sharpened logits, plus each block's spike rate above the free one."""
    logits, spikes = module(x)
    excess = torch.stack([torch.relu(s.mean() - free_spikes) for s in spikes]).sum()
    return torch.nn.functional.cross_entropy(SHARPNESS * logits, labels) + excess


def train(module: SpikingNetwork, data: Split, recipe: Recipe, batch: int = 64) -> list[Point]:
    """Train with AdamW under a one-cycle schedule and return the learning curve.

    The dynamics learn slower and without weight decay.
    """
    dynamics = [p for name, p in module.named_parameters() if name.endswith(DYNAMICS)]
    weights = [p for name, p in module.named_parameters() if not name.endswith(DYNAMICS)]
    epochs, rate = recipe.epochs, recipe.rate
    groups = [{"params": dynamics, "lr": 0.3 * rate, "weight_decay": 0.0}, {"params": weights, "lr": rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    x, labels = values(data.inputs), torch.from_numpy(data.labels)
    curve = []
    steps = -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [0.3 * rate, rate], total_steps=epochs * steps)
    for epoch in range(epochs):
        module.train()
        if module.options.get("approximation") == "predicted":
            predicted.fit(module, x[torch.randperm(len(x))[:FITTED_SAMPLES]])
        total = 0.0
        for chosen in torch.split(torch.randperm(len(x)), batch):
            loss = objective(module, x[chosen], labels[chosen], recipe.free_spikes)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            if recipe.largest_gradient is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.largest_gradient)
            optimizer.step()
            schedule.step()
            total += loss.item()
        if (epoch + 1) % EVERY and epoch < epochs - 1:
            click.echo(f"epoch {epoch + 1:3d}  loss {total / steps:.3f}")
        else:
            accuracy, _ = evaluate(module, x, labels)
            test_accuracy, _ = evaluate(module, values(data.test_inputs), torch.from_numpy(data.test_labels))
            curve.append(Point(epoch + 1, total / steps, accuracy, test_accuracy))
            click.echo("epoch {:3d}  loss {:.3f}  training accuracy {:.4f}, test {:.4f}".format(*astuple(curve[-1])))
    return curve


@torch.no_grad()
def evaluate(module: SpikingNetwork, x: Tensor, labels: Tensor) -> tuple[float, list[float]]:
    """Return the accuracy, and each block's spikes per neuron and step."""
    module.eval()
    logits, spikes = module(x)
    return float((logits.argmax(1) == labels).float().mean()), [float(s.mean()) for s in spikes]


def write(module: SpikingNetwork, data: Split, out: Path) -> None:
    """Write checkpoint, test data and calibration data beside each other."""
    save(module, out, input_format=FORMAT, dt=0.001)
    some = slice(CALIBRATION_SAMPLES)
    calibration = values(data.inputs[some]).numpy()
    np.savez_compressed(out.with_name(f"{out.stem}_calibration.npz"), inputs=calibration, labels=data.labels[some])
    test = values(data.test_inputs).numpy()
    np.savez_compressed(out.with_name(f"{out.stem}.npz"), inputs=test, labels=data.test_labels)


def options(model: str, given: tuple[str, ...]) -> dict[str, Any]:
    """Convert KEY=VALUE pairs into a model's options; a value has the type of the option's default."""
    defaults = {option.name: option.default for option in neuron_model(model).options}
    found: dict[str, Any] = {}
    for pair in given:
        name, _, text = pair.partition("=")
        kind = type(defaults.get(name, ""))
        try:
            found[name] = text.lower() in ("1", "true", "yes") if kind is bool else kind(text)
        except ValueError as error:
            raise click.BadParameter(f"--option {pair}: give a value of type {kind.__name__}") from error
    return found


@click.command()
@click.option("--model", default="binary-s4d", show_default=True, type=click.Choice(list(neuron_models())))
@click.option("--option", "given", multiple=True, metavar="KEY=VALUE", help="Model option, see `nmdeploy models NAME`.")
@click.option("--epochs", default=None, type=int, help="Epochs.  [default: depends on the model]")
@click.option("--rate", default=None, type=float, help="Learning rate.  [default: depends on the model]")
@click.option("--channels", default=64, show_default=True, help="Neurons per layer.")
@click.option("--states", default=None, type=int, help="States per neuron.  [default: depends on the model]")
@click.option("--layers", default=3, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--out", default="digits.safetensors", show_default=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--curve", default=None, type=click.Path(dir_okay=False, path_type=Path), help="Learning curve, as JSON.")
def main(
    model: str,
    given: tuple[str, ...],
    epochs: int | None,
    rate: float | None,
    states: int | None,
    seed: int,
    threads: int,
    out: Path,
    curve: Path | None,
    **sizes: int,
) -> None:
    """Train on scikit-learn's digits; write the checkpoint, test data and calibration data."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    data = split()
    recipe = RECIPES.get(model, Recipe())
    recipe = replace(recipe, epochs=epochs or recipe.epochs, rate=rate or recipe.rate, states=states or recipe.states)
    sizes["states"] = recipe.states
    compiled = recipe.compiled and find_compiler() is not None
    if recipe.compiled and not compiled:
        click.echo(f"no C++ compiler ({', '.join(COMPILERS)}) found: training does not compile, and takes longer")
    fixed: dict[str, Any] = {"inputs": 1, "outputs": 10, "seed": seed, "dropout": recipe.dropout, "compiled": compiled}
    try:
        module = create(model, **fixed, **sizes, **options(model, given))
    except BadOption as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"training {model} for {recipe.epochs} epochs")
    began = time.perf_counter()
    points = train(module, data, recipe)
    seconds = time.perf_counter() - began
    accuracy, rates = evaluate(module, values(data.test_inputs), torch.from_numpy(data.test_labels))
    write(module, data, out)
    if curve is not None:
        parameters = sum(parameter.numel() for parameter in module.parameters())
        held = {"seconds": seconds, "parameters": parameters, "recipe": asdict(recipe)}
        held["curve"] = [asdict(point) for point in points]
        curve.write_text(json.dumps(held, indent=1) + "\n")
    click.echo(f"trained in {seconds:.0f} s; test accuracy {accuracy:.4f} ({len(data.test_labels)} samples)")
    click.echo("spike rate per layer: " + ", ".join(f"{rate:.3f}" for rate in rates))
    click.echo(f"wrote {out} ({out.stat().st_size} bytes) and its data beside it")


if __name__ == "__main__":
    main()
