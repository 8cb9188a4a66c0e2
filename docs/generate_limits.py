"""Writes the table of limits into docs/quantization.md, from the tables that the neuron families choose scales by.

python docs/generate_limits.py           writes the table
python docs/generate_limits.py --check   exits with 1 if the table is not current
"""

from __future__ import annotations

import re
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

PAGE = Path(__file__).with_name("quantization.md")
BEGIN, END = "<!-- limits -->\n", "<!-- /limits -->\n"
Row = tuple[str, str, str, str]


def rows() -> Iterator[Row]:
    """Yield family, field, limit and reason; the examples of a family have all mechanisms that add a limit."""
    for module in modules("nmdeploy.neurons", "nmdeploy"):
        for neuron in module.examples(2) if "examples" in vars(module) else ():
            scales = choose_scales(
                _network(neuron), QuantizationConfig(), calibrate(_network(neuron), np.ones((1, 9, 2)))
            )
            for field, table in scales["n"].limits.items():
                yield from ((neuron.kind, field, limit.name, limit.reason) for limit in table)
    for synapse in (Dense(np.ones((2, 2)), np.ones(2)), Sparse.from_matrix(np.eye(2), np.ones(2))):
        for field, table in synapse.choose_scales(np.ones(2), 6, 0, QuantizationConfig()).limits.items():
            yield from ((synapse.kind, field, limit.name, limit.reason) for limit in table)


def _network(neuron: Neuron) -> Network:
    weight = np.random.default_rng(0).normal(size=(neuron.input_size, 2))
    nodes = {"input": Input((2,)), "synapse": Dense(weight), "n": neuron}
    return Network(nodes, (Edge("input", "synapse"), Edge("synapse", "n")), 1e-3, "n")


def table() -> str:
    """The table, without repetitions."""
    lines = [f"| `{kind}` | `{field}` | {name} | {reason} |" for kind, field, name, reason in dict.fromkeys(rows())]
    return "\n".join(["| family | field | limit | reason |", "|---|---|---|---|", *lines]) + "\n"


def run(arguments: list[str]) -> int:
    """Write or check the table."""
    current = PAGE.read_text("utf-8")
    text = re.sub(f"(?<={BEGIN}).*?(?={END})", lambda match: f"\n{table()}\n", current, count=1, flags=re.S)
    if arguments == ["--check"]:
        if current != text or BEGIN not in current:
            print(f"{PAGE.name} is not current: run python docs/generate_limits.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
