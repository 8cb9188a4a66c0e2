"""Text of `docs/models.md` and `docs/models/*.md`, from the registry, `results.json` and `checks.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models_results import LEAST_ACCURACY, MOST_APART, is_marked, rows

from nmdeploy.cli.models import PARALLEL
from nmdeploy.models.catalog import NeuronModel, Option, neuron_models

Rows = Mapping[str, Mapping[str, Any]]

HEAD = f"""# Models

Every model is a spiking state-space neuron from the literature. `nmdeploy.models.create(name, ...)` makes a network of
it to train, and nmdeploy deploys the checkpoint. `nmdeploy models` lists the models; `nmdeploy models NAME` prints
equation, options, source and hardware.

```sh
python examples/train_digits.py --model spiking-ssm --out spiking-ssm.safetensors
nmdeploy export spiking-ssm.safetensors --data spiking-ssm_calibration.npz -o spiking-ssm.nir
nmdeploy verify spiking-ssm.nir --data spiking-ssm.npz --samples 5
```

`docs/generate_models.py` generates this page and the pages of the models, from the models themselves and from the
measurements of its options `--train` and `--checks`.

{{models}}

## Trained on digits

`examples/train_digits.py --model NAME` trained each network on handwritten digits, as sequences of 64 pixels. A network
has three blocks of 64 neurons. The accuracies are those of 450 test samples that training never saw. The networks were
quantized to 8-bit weights and 24-bit states with 128 calibration samples, and run by the reference.

- Rate is in spikes per neuron and step, training in wall-clock seconds of one thread on a machine that did other work
  too.
- A row in bold misses {LEAST_ACCURACY:.0%} in float, or differs by over {100 * MOST_APART:.0f} point once quantized.
- Operations are [synaptic operations](metrics.md#counts) per sample. Computed are those that remain if the spikes of a
  window are sent once.
- Energy is in nJ per sample, from the counts and the figures of profile `loihi2`. The letter names their source.

{{results}}

## Checks

- Parallel: `exact` if training computes all steps at once, equal to the step-by-step form; `none` if it does not.
- Random, trained: differing spikes between the parallel form and the step-by-step form, in float64, with random and
  with trained weights.
- Population: differing spikes between the trained module and the float population that is deployed, with trained
  weights.
- Gradient: the largest relative difference of a parameter's gradient between the two forms, in float64.
- Lava: random live networks, quantized; the spikes and states that were compared with Lava's; how many differ.

{{checks}}
"""


def models_page(results: Rows, checks: Rows) -> str:
    """Return `docs/models.md`."""
    return HEAD.format(
        models="\n".join(_models_table()),
        results="\n".join(_results_section(results)),
        checks="\n".join(_checks_table(checks)),
    )


def _models_table() -> Iterator[str]:
    yield from ("| model | what it is |", "|---|---|")
    for name, model in neuron_models().items():
        yield f"| [`{name}`](models/{name}.md) | {model.summary} |"


def _results_section(results: Rows) -> Iterator[str]:
    sources = list(dict.fromkeys(str(result["energy_source"]) for result in results.values()))
    letters = {source: chr(ord("a") + index) for index, source in enumerate(sources)}
    known = {name: results[name] for name in rows() if name in results}
    unknown = [name for name in rows() if name not in results]
    yield "| model | float | quantized | rate | latency | parameters | training |"
    yield "|---|---|---|---|---|---|---|"
    yield from (_accuracy_row(name, result) for name, result in known.items())
    yield from (f"| `{name}` | not measured |" + " |" * 5 for name in unknown)
    yield from ("", "| model | operations | computed | energy |", "|---|---|---|---|")
    yield from (_cost_row(name, result, letters) for name, result in known.items())
    yield from (f"| `{name}` | not measured |" + " |" * 2 for name in unknown)
    yield ""
    yield from (f"- ({letter}) {source}" for source, letter in letters.items())
    for name, result in known.items():
        if is_marked(result):
            yield from ("", *_diagnosis(name, result))


def _accuracy_row(name: str, result: Mapping[str, Any]) -> str:
    cells = (
        f"{result['float_accuracy']:.4f}",
        f"{result['quantized_accuracy']:.4f}",
        "-" if result["spike_rate"] is None else f"{result['spike_rate']:.3f}",
        f"{result['latency']} steps",
        str(result["parameters"]),
        f"{result['seconds']:.0f} s",
    )
    return f"| {f'**`{name}`**' if is_marked(result) else f'`{name}`'} | " + " | ".join(cells) + " |"


def _cost_row(name: str, result: Mapping[str, Any], letters: Mapping[str, str]) -> str:
    energy = result["energy_nanojoules"]
    cells = (
        f"{result['synaptic_operations']:.0f}",
        f"{result['synaptic_operations_computed']:.0f}",
        ("not available" if energy is None else f"{energy:.0f}") + f" ({letters[result['energy_source']]})",
    )
    return f"| `{name}` | " + " | ".join(cells) + " |"


def _diagnosis(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the diagnosis of a marked row, and its learning curve."""
    yield f"`{name}`: {result['diagnosis']}. Learning curve:"
    yield from ("", "| epoch | loss | training | test |", "|---|---|---|---|")
    for point in result["curve"]:
        accuracies = f"{point['training_accuracy']:.4f} | {point['test_accuracy']:.4f}"
        yield f"| {point['epoch']} | {point['loss']:.3f} | {accuracies} |"


def _checks_table(checks: Rows) -> Iterator[str]:
    yield "| model | parallel | random | trained | population | gradient | Lava networks | values | different |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in rows():
        if name not in checks:
            yield f"| `{name}` | not measured |" + " |" * 7
            continue
        found = checks[name]
        spikes = [f"{part['different']} of {part['compared']}" for part in found["spikes"].values()]
        lava = found["lava"]
        cells = (found["parallel"], *spikes, f"{found['gradient_error']:.1e}", *(str(lava[key]) for key in lava))
        yield f"| `{name}` | " + " | ".join(cells) + " |"


def model_page(model: NeuronModel, results: Rows) -> str:
    """`docs/models/<name>.md`: the fields of the model, and the cost of its trained network per step."""
    parts = [
        f"# {model.name}\n\n{model.summary}",
        f"```text\n{model.equation.strip()}\n```",
        f"Source: {model.citation}",
        f"Training runs {PARALLEL[model.parallel]}; normalization acts on the {model.normalizes}.",
        "## Options\n\n" + "\n".join(_options(model.options)),
        f"## What the source leaves open\n\n{model.chosen.strip()}",
        f"## On hardware\n\n{model.hardware.strip()}",
        *([_costs(results[model.name])] if model.name in results else []),
        *(_measured(row, result) for row, result in results.items() if is_measured(model, result)),
    ]
    return "\n\n".join(parts) + "\n"


def _options(options: tuple[Option, ...]) -> Iterator[str]:
    if not options:
        yield "None."
        return
    yield from ("| option | default | choices | meaning |", "|---|---|---|---|")
    for option in options:
        least = "-" if option.least is None else f"at least {option.least}"
        choices = ", ".join(f"`{choice}`" for choice in option.choices) or least
        yield f"| `{option.name}` | `{option.default}` | {choices} | {option.help} |"


def is_measured(model: NeuronModel, result: Mapping[str, Any]) -> bool:
    """Return True if a row belongs to the model and has notes beside its figures."""
    return bool(result["model"] == model.name and result["measured"])


def _measured(row: str, result: Mapping[str, Any]) -> str:
    return f"## Measured on the trained network: {row}\n\n" + "\n".join(f"- {line}" for line in result["measured"])


def _costs(result: Mapping[str, Any]) -> str:
    cost, lookahead = result["neuron"], max(result["lookahead"])
    steps = f"{result['block_steps']} step{'s' if result['block_steps'] > 1 else ''}"
    late = f", {lookahead} of them the lookahead of its windows" if lookahead else ""
    names = ("multiplications", "shifts", "additions", "comparisons", "hashes", "bits")
    return (
        f"A block is {steps} later than the one before{late}. The network trained on digits ([Models](../models.md)) "
        f"has a latency of {result['latency']} steps. The mean cost of a neuron of its first block, per step:\n\n"
        "| multiplications | shifts | additions | comparisons | hashes | parameters and states |\n"
        "|---|---|---|---|---|---|\n"
        "| " + " | ".join(f"{cost[name]:.1f}" for name in names) + " bit |\n\n"
        "A coefficient of 0 costs nothing, a power of two costs a shift, and a sum of n terms costs n - 1 additions. "
        "The subtraction of a reset counts in every step. Roundings and saturations are not counted."
    )
