"""Writes the tables of pages that follow from the code: layers in docs/architecture.md, limits in docs/quantization.md.

python docs/generate_tables.py           writes the tables
python docs/generate_tables.py --check   exits with 1 if one is not current
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nmdeploy._util.plugins import modules
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import Neuron, QuantizationConfig
from nmdeploy.quantization.post_training import calibrate, choose_scales
from nmdeploy.synapses.dense import Dense
from nmdeploy.synapses.sparse import Sparse

DOCS = Path(__file__).resolve().parent
TESTS = DOCS.parent / "tests" / "test_imports.py"


def layers() -> str:
    """Return the table of layers, the lowest first: the literal `LAYERS` of the tests."""
    for statement in ast.parse(TESTS.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "LAYERS":
            found: tuple[tuple[str, ...], ...] = ast.literal_eval(statement.value)
            rows = (f"| {rank} | {', '.join(f'`{name}`' for name in names)} |" for rank, names in enumerate(found, 1))
            return "\n".join(["| layer | modules and folders of `nmdeploy/` |", "|---|---|", *rows])
    raise ValueError(f"{TESTS} has no LAYERS")


def limits() -> str:
    """Return the table of limits by which the families choose scales, without repetitions."""
    rows = (" | ".join((f"`{kind}`", f"`{field}`", name, reason)) for kind, field, name, reason in _limits())
    lines = dict.fromkeys(f"| {row} |" for row in rows)
    return "\n".join(["| family | field | limit | reason |", "|---|---|---|---|", *lines])


def _limits() -> Iterator[tuple[str, str, str, str]]:
    """Yield family, field, limit and reason; the examples of a family have all mechanisms that add a limit."""
    for module in modules("nmdeploy.neurons", "nmdeploy"):
        for neuron in module.examples(2) if "examples" in vars(module) else ():
            network = _network(neuron)
            scales = choose_scales(network, QuantizationConfig(), calibrate(network, np.ones((1, 9, 2))))
            for field, table in scales["n"].limits.items():
                yield from ((neuron.kind, field, limit.name, limit.reason) for limit in table)
    for synapse in (Dense(np.ones((2, 2)), np.ones(2)), Sparse.from_matrix(np.eye(2), np.ones(2))):
        for field, table in synapse.choose_scales(np.ones(2), 6, 0, QuantizationConfig()).limits.items():
            yield from ((synapse.kind, field, limit.name, limit.reason) for limit in table)


def _network(neuron: Neuron) -> Network:
    weight = np.random.default_rng(0).normal(size=(neuron.input_size, 2))
    nodes = {"input": Input((2,)), "synapse": Dense(weight), "n": neuron}
    return Network(nodes, (Edge("input", "synapse"), Edge("synapse", "n")), 1e-3, "n")


TABLES = {"architecture.md": layers, "quantization.md": limits}
"""Table of each page; it lies between comments with the name of its function."""


def run(arguments: list[str]) -> int:
    """Write or check the tables, and return the exit code."""
    for name, table in TABLES.items():
        page = DOCS / name
        current = page.read_text("utf-8")
        begin, end = f"<!-- {table.__name__} -->\n", f"<!-- /{table.__name__} -->\n"
        if begin not in current or end not in current:
            print(f"{name} has no place for its table: {begin.strip()}", file=sys.stderr)
            return 1
        text = f"{current.split(begin)[0]}{begin}\n{table()}\n\n{end}{current.split(end, 1)[1]}"
        if arguments != ["--check"]:
            page.write_text(text, "utf-8")
        elif current != text:
            print(f"{name} is not current: run python docs/generate_tables.py", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
