"""Timing of float libraries on a LIF network: ``python -m benchmarks.peer_job JOB.npz``, one JSON line per library.

All run in float32, layer by layer over whole sequences (steps, batch, channels). One matrix product serves all steps,
then the library's own neuron runs over the steps. This is each library's fastest standard form of a feed-forward
network.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.peers import UNFINISHED, fitting, swept
from nmdeploy._util.system import processors

SWEEP_RUNS, SWEEP_SECONDS = 3, 1.0
Neuron = Callable[[torch.Tensor], torch.Tensor]


def snntorch_synaptic(alpha: float, beta: float, threshold: float) -> Neuron:
    """Return snnTorch's neuron with synaptic current, in its default form.

    A spike subtracts the threshold a step later.
    """
    import snntorch

    neuron = snntorch.Synaptic(alpha=alpha, beta=beta, threshold=threshold)

    def over_steps(sums: torch.Tensor) -> torch.Tensor:
        syn, mem = neuron.reset_mem()
        spikes = []
        for a in sums:
            spike, syn, mem = neuron(a, syn, mem)
            spikes.append(spike)
        return torch.stack(spikes)

    return over_steps


def snntorch_leaky(alpha: float, beta: float, threshold: float) -> Neuron:
    """Return snnTorch's neuron without synaptic current: one state, not two, in favour of the library."""
    import snntorch

    neuron = snntorch.Leaky(beta=beta, threshold=threshold * (1 - alpha))

    def over_steps(sums: torch.Tensor) -> torch.Tensor:
        mem = neuron.reset_mem()
        spikes = []
        for a in sums:
            spike, mem = neuron(a, mem)
            spikes.append(spike)
        return torch.stack(spikes)

    return over_steps


def norse_lif(alpha: float, beta: float, threshold: float) -> Neuron:
    """Return Norse's LIF: the same recurrence, with its membrane scaled by 1 - beta."""
    import norse.torch as norse

    p = norse.LIFParameters(
        tau_syn_inv=torch.as_tensor((1 - alpha) / 1e-3),
        tau_mem_inv=torch.as_tensor((1 - beta) / 1e-3),
        v_th=torch.as_tensor(threshold * (1 - beta)),
    )
    neuron = norse.LIF(p, dt=1e-3)
    return lambda sums: neuron(sums)[0]


def spikingjelly_cuba(alpha: float, beta: float, threshold: float) -> Neuron:
    """Return spikingjelly's current-based LIF, multi-step."""
    from spikingjelly.activation_based import functional, neuron

    node = neuron.CUBALIFNode(c_decay=alpha, v_decay=beta, v_threshold=threshold)
    node.step_mode = "m"
    return _after_reset(functional, node)


def spikingjelly_lif(alpha: float, beta: float, threshold: float) -> Neuron:
    """Return spikingjelly's LIF without synaptic current, multi-step: one state, not two, in favour of the library."""
    from spikingjelly.activation_based import functional, neuron

    node = neuron.LIFNode(tau=1 / (1 - beta), decay_input=False, v_threshold=threshold * (1 - alpha), step_mode="m")
    return _after_reset(functional, node)


def _after_reset(functional: Any, node: Any) -> Neuron:
    node.eval()

    def over_steps(sums: torch.Tensor) -> torch.Tensor:
        functional.reset_net(node)
        spikes: torch.Tensor = node(sums)
        return spikes

    return over_steps


PEERS = {
    "snnTorch Synaptic": snntorch_synaptic,
    "snnTorch Leaky": snntorch_leaky,
    "Norse LIF": norse_lif,
    "spikingjelly CUBALIF": spikingjelly_cuba,
    "spikingjelly LIF": spikingjelly_lif,
}


def measure(make: Callable[[float, float, float], Neuron], job: Any) -> dict[str, Any]:
    """Measure the median seconds per sample at the best batch size, and the share of outputs equal to the integers'."""
    weights = [torch.from_numpy(weight) for weight in job["weights"].astype(np.float32)]
    neurons = [make(*values) for values in zip(*(job[k].tolist() for k in ("alpha", "beta", "threshold")), strict=True)]

    def forward(x: torch.Tensor) -> torch.Tensor:
        for weight, neuron in zip(weights, neurons, strict=True):
            x = neuron(torch.nn.functional.linear(x, weight))
        return x

    codes = torch.from_numpy(job["codes"].astype(np.float32).transpose(1, 0, 2)).contiguous()
    output = forward(codes).numpy().transpose(1, 0, 2) > 0
    tried = swept(
        lambda batch: _seconds(forward, codes, batch, SWEEP_RUNS, SWEEP_SECONDS) / batch,
        fitting(len(codes), codes.shape[2]),
    )
    best = min(tried, key=lambda batch: tried[batch])
    return {
        "seconds": _seconds(forward, codes, best, int(job["repeats"])) / best,
        "batch": best,
        "tried": {str(batch): seconds for batch, seconds in tried.items()},
        "spike_rate": float(output.mean()),
        "agreement": float((output == job["output"]).mean()),
    }


def _seconds(forward: Neuron, codes: torch.Tensor, batch: int, repeats: int, most: float = math.inf) -> float:
    """Return the median of some runs on a batch, of fewer if they take longer than `most` seconds together."""
    x = codes.repeat(1, -(-batch // codes.shape[1]), 1)[:, :batch].contiguous()
    times: list[float] = []
    while len(times) < repeats and sum(times) < most:
        start = time.perf_counter()
        forward(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(path: str) -> None:
    """Measure all libraries that can be imported; a library that fails is reported with its error."""
    torch.set_num_threads(processors())
    with np.load(path) as arrays:
        job = dict(arrays)
    for name in PEERS:
        print(json.dumps({"peer": name, **UNFINISHED}), flush=True)
    for name, make in PEERS.items():
        try:
            with torch.inference_mode():
                result = measure(make, job)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"peer": name, **result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
