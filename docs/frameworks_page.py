"""Text of `docs/frameworks.md`, from the files of `examples/frameworks` and `docs/frameworks.json`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from frameworks_results import LAVA_SAMPLES, MARGIN_MAX, MOST_LOST, SECONDS_MAX, SINABS, WEIGHT_BITS, is_marked

from examples.train_framework import FOLDER, names

Rows = Mapping[str, Mapping[str, Any]]

HEAD = f"""# Networks of frameworks

Each network of this page is a file of `examples/frameworks`, written as a user of its framework writes it. A script
trains it on scikit-learn's digits. nmdeploy imports it by its name, compares it with its framework, and deploys it.
`pip install -c constraints.txt '.[train,importers]'` installs all frameworks but Sinabs.

```sh
python -m examples.train_framework snntorch_defaults
nmdeploy export examples.frameworks.snntorch_defaults:make_net --weights build/frameworks/snntorch_defaults.pt \\
    --data build/frameworks/snntorch_defaults_calibration.npz -o model.nir
nmdeploy verify model.nir --data build/frameworks/snntorch_defaults.npz --samples {LAVA_SAMPLES} \\
    --checkpoint examples.frameworks.snntorch_defaults:make_net
```

Sinabs cannot share an environment with nmdeploy. Its network is trained, and exported as a file, in another one:

```sh
{SINABS} \\
    -m examples.train_framework sinabs_lif
{SINABS} \\
    examples/export_sinabs.py examples.frameworks.sinabs_lif:make_net --weights build/frameworks/sinabs_lif.pt \\
    --data build/frameworks/sinabs_lif_calibration.npz -o net.nir --outputs outputs.npy
nmdeploy export net.nir --from sinabs --data build/frameworks/sinabs_lif_calibration.npz \\
    --expect outputs.npy -o model.nir
```

`docs/generate_frameworks.py` generates this page from the measurements of its option `--measure`.

## Networks

{{networks}}

- `spikes`: 32 steps of 64 channels; a pixel of value p, 0 to 16, spikes in a step with the probability p / 16.
- `grey`: 32 steps of 64 channels, all the same: p / 16.
- `sequence`: 64 steps of one channel, pixel after pixel: p / 16.
- Training is in seconds of one processor core. It never sees the test samples.

## Compared with their frameworks

Each layer is compared in float64, step by step, on the spikes that the framework itself sent into it, on all test
samples. Values are the largest error of outputs that are no spikes, relative to the largest output. Only the
outputs of Sinabs are compared: the spikes of every step in float64, of all test samples.

{{comparisons}}

The module and the float network also run freely in float32, each layer on the spikes of the one before it. Where a
neuron differs first, the margin is the distance of its membrane from its threshold, relative to the larger of threshold
and largest membrane. {MARGIN_MAX:g} is the limit:

{{float32}}

{{convolutions}}

## Accuracies

Of {{samples}} test samples. Framework is the trained module itself in float32, float is nmdeploy's float network. The
integers have {WEIGHT_BITS}-bit weights, scaled on 128 training samples, in profile `loihi2`. Lava runs
{LAVA_SAMPLES} samples; every spike and every state is compared.

A network in bold fails: a spike differs, the margin is too large, training takes over {SECONDS_MAX} s, or the integers
lose over {100 * MOST_LOST:.0f} point.

{{accuracies}}

## Warnings of export

A population whose spikes change by over 4 % is named, with the tensor whose rounding alone changes most. Each
population gets the spikes that the float network sends it. The warning ends with a remedy, which is left out here.
A warning does not stop the export. It counts spikes; the accuracies above show what it means for the classes.

{{warnings}}
"""


def page(rows: Rows) -> str:
    """Return `docs/frameworks.md`."""
    samples = sorted({row["samples"] for row in rows.values()})
    return HEAD.format(
        networks="\n".join(_networks(rows)),
        comparisons="\n".join(_comparisons(rows)),
        float32="\n".join(_float32(rows)),
        convolutions="\n\n".join(_convolutions(rows)),
        samples=" or ".join(map(str, samples)),
        accuracies="\n".join(_accuracies(rows)),
        warnings="\n".join(_warnings(rows)),
    )


def summary(name: str) -> str:
    """Return the first line of a network's file, without importing its framework."""
    text = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))) or ""
    return text.splitlines()[0]


def _table(*columns: str) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|---" * len(columns) + "|"


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _short(number: float) -> str:
    return f"{number:.1e}" if number else "0"


def _named(name: str, rows: Rows) -> str:
    return f"**`{name}`**" if name in rows and is_marked(rows[name]) else f"`{name}`"


def _networks(rows: Rows) -> Iterator[str]:
    yield from _table("network", "what it is", "data", "parameters", "training")
    for name in names():
        row = rows.get(name)
        cells = ("not measured", "", "") if row is None else (row["data"], row["parameters"], f"{row['seconds']:.0f} s")
        yield _row(_named(name, rows), summary(name), *cells)


def _comparisons(rows: Rows) -> Iterator[str]:
    yield from _table("network", "compared with", "spikes", "that differ", "values")
    for name, row in rows.items():
        found = row["import"]
        error = "-" if found["values_error"] is None else _short(found["values_error"])
        yield _row(_named(name, rows), found["framework"], f"{found['spikes']:,}", found["differ"], error)


def _float32(rows: Rows) -> Iterator[str]:
    yield from _table("network", "spikes that differ in float32", "margin")
    for name, row in rows.items():
        found = row["import"]
        if "float32_differ" in found:
            yield _row(_named(name, rows), found["float32_differ"], _short(found["float32_margin"]))


def _convolutions(rows: Rows) -> Iterator[str]:
    for name, row in rows.items():
        found = row["import"]
        if "convolution_error" in found:
            yield (
                f"`{name}` has no framework. Its network is built with NetworkBuilder, and compared with its "
                f"recurrence, step by step in float64. Training computes the same by a convolution in float32. Its "
                f"outputs are off by at most {found['convolution_error']:.1e} of the largest one, and "
                f"{found['convolution_differ']:,} of {found['spikes']:,} spikes differ from the recurrence's."
            )


def _accuracies(rows: Rows) -> Iterator[str]:
    yield from _table("network", "framework", "float", "integers", "values compared with Lava", "that differ")
    for name, row in rows.items():
        shares = (row["framework_accuracy"], row["accuracy"]["float"], row["accuracy"]["quantized"])
        values, differ = (sum(each[key] for each in row["lava"]) for key in ("values", "mismatches"))
        yield _row(_named(name, rows), *(f"{share:.4f}" for share in shares), f"{values:,}", differ)


def _warnings(rows: Rows) -> Iterator[str]:
    for name, row in rows.items():
        for warning in row["warnings"] or ["none"]:
            yield f"- `{name}`: {': '.join(warning.split(': ')[:3])}"
