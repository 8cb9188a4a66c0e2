"""LLVM through llvmlite, as the engine uses it, against Numba: ``python benchmarks/compilers.py [--docs]``.

The table is that of docs/adr/0006. Every import and every compilation is measured in a process of its own. The kernels'
speed is measured in one process, on the same sums. Exit code 1 if the kernels' spikes differ.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.networks import STEPS, Shape
from benchmarks.pages import Table, draw, fill, markdown, printed_by
from benchmarks.results import load_now
from benchmarks.timing import seconds_of

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "adr" / "0006-llvm-and-tracing.md"
RUNS, CALLS, NAME = 3, 200, "layer0"
SHAPES = {
    "LIF": Shape("lif", networks.CHANNELS, layers=1),
    "state-space": Shape("state_space", networks.CHANNELS, 16, "per-product", layers=1),
}
MODULES = {"numba": "import numba", "engine": "import llvmlite.binding, llvmlite.ir"}
COLUMNS = ("", "Numba", "llvmlite, as the engine uses it")
IMPORT = """
import re, time, numpy
from pathlib import Path
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
start, before = time.perf_counter(), peak()
{}
print({{"seconds": time.perf_counter() - start, "MiB": peak() - before}}.__repr__().replace("'", '"'))
"""


# -- the kernels, by hand. They are the fastest of several variants: loops over the neurons of a block and over a
# neuron's states, blocks whose steps run together, parameters in one array or in many. Multiplications by a condition
# became vectors in cases in which a choice did not.


def lif(sums: Any, gain: float, codes: Any, state: Any, out: Any) -> None:
    """Run all steps of a LIF population without refractory period (docs/arithmetic.md), on float64 lanes."""
    for t in range(sums.shape[0]):
        row, sent = sums[t], out[t]
        keep_u, keep_v, bias, vth = codes[0], codes[1], codes[2], codes[3]
        u, v = state[0], state[1]
        for h in range(u.shape[0]):
            x = np.trunc(u[h] * keep_u[h]) + row[h] * gain
            x = x - 16777216.0 * (x > 8388608.0) + 16777216.0 * (x <= -8388608.0)
            y = min(max(np.trunc(v[h] * keep_v[h]) + (x + bias[h]), -8388607.0), 8388607.0)
            spike = y > vth[h]
            u[h] = x
            v[h] = y * (1 - spike)
            sent[h] = spike


def state_space(
    sums: Any, a_re: Any, a_im: Any, b_re: Any, b_im: Any, c_re: Any, c_im: Any, d: Any, bias: Any, vth: Any,
    re: Any, im: Any, y: Any, out: Any,
) -> None:  # fmt: skip
    """Run all steps of a state-space population, rounding per product, no reset; coefficients (states, neurons)."""
    for t in range(sums.shape[0]):
        row, sent = sums[t], out[t]
        for h in range(y.shape[0]):
            y[h] = np.trunc(d[h] * row[h]) + bias[h]
        for n in range(re.shape[0]):
            ar, ai, br, bi, cr, ci, r, i = a_re[n], a_im[n], b_re[n], b_im[n], c_re[n], c_im[n], re[n], im[n]
            for h in range(y.shape[0]):
                p = np.trunc(ar[h] * r[h]) - np.trunc(ai[h] * i[h]) + np.trunc(br[h] * row[h])
                q = np.trunc(ai[h] * r[h]) + np.trunc(ar[h] * i[h]) + np.trunc(bi[h] * row[h])
                p = min(max(p, -8388607.0), 8388607.0)
                q = min(max(q, -8388607.0), 8388607.0)
                r[h] = p
                i[h] = q
                y[h] += np.trunc(cr[h] * p) - np.trunc(ci[h] * q)
        for h in range(y.shape[0]):
            sent[h] = y[h] > vth[h]


def lif_arguments(network: Any) -> list[Any]:
    """Return the arguments of `lif` between sums and outputs."""
    neuron, exponent = network.populations[NAME], network.synapses[f"{NAME}.synapse"].weight_exp
    bias = neuron.bias_mant << neuron.bias_exp
    codes = np.stack([(4095 - neuron.du) / 4096, (4096 - neuron.dv) / 4096, bias, neuron.vth << 6])
    return [2.0 ** (exponent + 6), codes, np.zeros((2, neuron.size))]


def state_space_arguments(network: Any) -> list[Any]:
    """Return the arguments of `state_space` between sums and outputs."""
    neuron, exponent = network.populations[NAME], network.synapses[f"{NAME}.synapse"].weight_exp

    def values(name: str) -> Any:
        codes = getattr(neuron, name).astype(np.float64).reshape(neuron.size, -1).T
        entered = 2.0**exponent if name[0] in "bd" else 1.0
        return np.ascontiguousarray(codes * entered / 2.0 ** getattr(neuron, f"frac_{name[0]}"))

    matrices = [values(name) for name in ("a_re", "a_im", "b_re", "b_im", "c_re", "c_im")]
    ends = [each.astype(np.float64).reshape(-1) for each in (neuron.bias, neuron.vth)]
    return [*matrices, values("d")[0], *ends, *np.zeros((2, *matrices[0].shape)), np.zeros(neuron.size)]


BY_HAND: dict[str, tuple[Callable[..., None], Callable[[Any], list[Any]]]] = {
    "LIF": (lif, lif_arguments),
    "state-space": (state_space, state_space_arguments),
}


def jitted(kind: str) -> Any:
    """Return the kernel compiled by Numba.

    It checks nothing that cannot happen, and no flag lets values change (all are integers).
    """
    import numba

    flags = {"nnan", "ninf", "nsz", "contract"}
    return numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=flags)(BY_HAND[kind][0])


# -- in a process of its own


def numba_ready(kinds: Sequence[str]) -> dict[str, Any]:
    """Return the seconds until each kernel has run for the first time, in this order."""
    import numba  # noqa: F401

    found = {}
    for kind in kinds:
        network = networks.network(SHAPES[kind])
        sums = np.zeros((STEPS, networks.CHANNELS), f"i{_sum_bytes(network)}")
        arguments = [sums, *BY_HAND[kind][1](network), np.zeros(sums.shape, np.uint8)]
        found[kind] = {"seconds": seconds_of(lambda kind=kind, all=arguments: jitted(kind)(*all))}
    return found


def _sum_bytes(network: Any) -> int:
    from nmdeploy.engine.llvm.compilation import sum_bits

    return sum_bits(network, f"{NAME}.synapse") // 8


def engine_ready(kinds: Sequence[str]) -> dict[str, Any]:
    """Return the seconds until the code of each kernel can be called, and the part of the layer's texts.

    The texts are those of synapse and neurons.
    """
    from nmdeploy.engine.llvm import machine
    from nmdeploy.engine.llvm.compilation import compile_network
    from nmdeploy.engine.lower.program import KERNEL

    found = {}
    for kind in kinds:
        network = networks.network(SHAPES[kind])
        start = time.perf_counter()
        text = compile_network(network).populations[NAME].text
        written = time.perf_counter()
        machine.functions(text, [KERNEL])
        found[kind] = {"seconds": time.perf_counter() - start, "written": written - start}
    return found


def speed(kinds: Sequence[str]) -> dict[str, Any]:
    """Least seconds of a call that runs one sample, of both; whether they send the same."""
    found = {}
    for kind in kinds:
        network = networks.network(SHAPES[kind])
        sums, expected, call, _held = engine_call(network)
        out = np.zeros(expected.shape, np.uint8)
        arguments = [sums, *BY_HAND[kind][1](network), out]
        kernel = jitted(kind)
        kernel(*arguments)
        equal, best = bool(np.array_equal(out, expected)), {"numba": math.inf, "engine": math.inf}
        for _ in range(CALLS):
            best["numba"] = min(best["numba"], seconds_of(lambda k=kernel, a=arguments: k(*a)))
            best["engine"] = min(best["engine"], seconds_of(call))
        each = STEPS * network.populations[NAME].size * max(1, SHAPES[kind].states)
        found[kind] = {"equal": equal, "spikes": int(out.sum()), **{name: 1e9 * s / each for name, s in best.items()}}
    return found


def engine_call(network: Any) -> tuple[Any, Any, Callable[[], None], Any]:
    """Return a sample's sums, the engine's spikes, a call of its kernel on these sums, and objects to keep alive."""
    from nmdeploy.engine.llvm import machine
    from nmdeploy.engine.llvm.compilation import compile_network
    from nmdeploy.engine.run.memory import Spare
    from nmdeploy.engine.run.runner import Worker, allocate_results

    synapse, codes = f"{NAME}.synapse", networks.inputs(1, networks.CHANNELS)
    made = compile_network(network).without(frozenset([synapse]))
    worker = Worker(made, STEPS, codes.dtype, frozenset([synapse]))
    sums = network.synapses[synapse].rows.sums(codes[0].astype(np.int64))[None].astype(f"i{_sum_bytes(network)}")
    written = allocate_results(made, np.full(1, STEPS), STEPS, Spare())
    worker.run(codes, np.array([STEPS]), 0, 1, written, {synapse: sums})
    expected = written.outputs[NAME][0, :, 0].copy()
    worker.place(codes, 0, written, {synapse: sums})
    function, args = worker.kernels[2 * made.order.index(NAME) :][:2]
    kernel = machine.callable_at(function, ctypes.c_void_p, *[ctypes.c_int64] * 3)
    return sums[0], expected, lambda: kernel(args, 0, STEPS, STEPS), (worker, written, codes, sums)


CHILDREN: dict[str, Callable[[Sequence[str]], dict[str, Any]]] = {
    "numba": numba_ready,
    "engine": engine_ready,
    "speed": speed,
}


def child(arguments: Sequence[str], cache: str) -> Any:
    """Run a process whose compilers keep their code in the folder `cache`, and return what it prints."""
    environment = {**os.environ, "NMDEPLOY_CACHE": cache, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


# -- from outside


def imports() -> dict[str, dict[str, float]]:
    """Return seconds and MiB beyond NumPy's."""
    with tempfile.TemporaryDirectory() as cache:
        runs = {
            name: [child(["-c", IMPORT.format(line)], cache) for _ in range(RUNS + 1)][1:]
            for name, line in MODULES.items()
        }
    return {name: {key: statistics.median(run[key] for run in each) for key in each[0]} for name, each in runs.items()}


def ready(name: str) -> dict[tuple[str, str], dict[str, float]]:
    """Return medians by kind and by what was ready: nothing, the compiler (after another kernel), or the code."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(RUNS):
        for kinds in ([*SHAPES], [*SHAPES][::-1]):
            with tempfile.TemporaryDirectory() as cache:
                cold, warm = (child(["-m", "benchmarks.compilers", "--child", name, *kinds], cache) for _ in range(2))
            found.setdefault((kinds[0], "nothing"), []).append(cold[kinds[0]])
            found.setdefault((kinds[1], "compiler"), []).append(cold[kinds[1]])
            found.setdefault((kinds[0], "code"), []).append(warm[kinds[0]])
    return {key: {part: statistics.median(r[part] for r in runs) for part in runs[0]} for key, runs in found.items()}


def comparison() -> tuple[Table, bool]:
    """Return the table, and whether both send the same spikes."""
    loaded, numba, engine = imports(), ready("numba"), ready("engine")
    with tempfile.TemporaryDirectory() as cache:
        ran = child(["-m", "benchmarks.compilers", "--child", "speed", *SHAPES], cache)
    pair = [loaded[name] for name in ("numba", "engine")]
    rows = [
        ("import, s", *(f"{each['seconds']:.3f}" for each in pair)),
        ("peak memory of the import, MiB beyond NumPy's", *(f"{each['MiB']:.0f}" for each in pair)),
    ]
    titles = {
        "nothing": "compile, the first kernel of a process, s",
        "compiler": "compile, after another kernel, s",
        "code": "new process, compiled before (warm cache), s",
    }
    for kind in SHAPES:
        for key, title in titles.items():
            own = engine[kind, key]
            cell = f"{own['seconds']:.3f} (of these traced, bounded, written: {own['written']:.3f})"
            rows.append((f"{kind}: {title}", f"{numba[kind, key]['seconds']:.3f}", cell))
        unit = "state" if SHAPES[kind].states else "neuron"
        times = [f"{ran[kind][name]:.3f}" for name in ("numba", "engine")]
        rows.append((f"{kind}: run, ns per {unit} and step", *times))
    equal = all(each["equal"] and each["spikes"] for each in ran.values())
    return Table("", COLUMNS, rows), equal


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python benchmarks/compilers.py", description=__doc__)
    parser.add_argument("--docs", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)} too")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        name, *kinds = chosen.child
        print(json.dumps(CHILDREN[name](kinds)))
        return 0
    load = load_now()
    table, equal = comparison()
    spikes = f"Both send {'the same spikes' if equal else 'DIFFERENT spikes'}."
    draw([table])
    print(spikes)
    if chosen.docs:
        head = printed_by("python benchmarks/compilers.py", ("numba", "llvmlite", "numpy"), load)
        fill(PAGE, "compilers", f"{head} {spikes}\n\n{markdown(table)}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
