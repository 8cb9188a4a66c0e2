"""Checks that need Lava's own Python: run by test_lava_processes.py through `run_python`, one JSON object a line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.dense.process import Dense
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIFReset
from lava.proc.monitor.process import Monitor
from lava.proc.rf.process import RF
from lava.utils.weightutils import SignMode

from nmdeploy.lava import LavaNetwork, RefractoryLIF, StateSpace, Trace, build
from nmdeploy.lava.worker import ProcessModelError, abandon, remember_models, run

STEPS = 40


def monitors(folder: Path) -> dict[str, Any]:
    """Recordings of a model file's populations against Lava's Monitors on the same Vars and Ports."""
    network = build(folder / "monitored.nir", steps=STEPS, record="states", folder=folder)
    inputs = np.load(folder / "monitored.npy")
    network.connect_input(RingBuffer(data=inputs.T.astype(np.int32)).s_out)
    total = STEPS + max(network.depth.values())
    watched = {}
    for population, trace in network.traces.items():
        for name in trace.names:
            process = network.processes[population]
            monitor, target = Monitor(), process.s_out if name == "spikes" else getattr(process, name)
            monitor.probe(target, total)
            watched[population, name] = monitor, process.name, target.name
    process = network.processes[network.output]
    process.run(RunSteps(total), LavaNetwork.run_config())
    different = []
    for (population, name), (monitor, process_name, var) in watched.items():
        seen = monitor.get_data()[process_name][var].reshape(total, -1)[network.depth[population] :][:STEPS]
        recorded = np.load(network.traces[population].path(name)).reshape(STEPS, -1)
        if not np.array_equal(seen, recorded) or not recorded.any():
            different.append(f"{population}|{name}")
    process.stop()
    return {"compared": len(watched), "different": different}


def intel_rf(folder: Path) -> dict[str, Any]:
    """StateSpace with one state against Intel's fixed-point RF; growing ones saturate."""
    rng, size, exp, bits = np.random.default_rng(3), 6, 6, 12
    source = RingBuffer(data=rng.integers(-2000, 2000, (size, STEPS)).astype(np.int32))
    synapse = Dense(
        weights=np.eye(size, dtype=int),
        sign_mode=SignMode.EXCITATORY,
        weight_exp=0,
        num_weight_bits=8,
        num_message_bits=24,
    )
    source.s_out.connect(synapse.s_in)
    watched = []
    for index, (period, alpha) in enumerate([(10, 0.07), (3.3, 0.01), (2.2, -0.2), (40, -0.3), (7, 0.5)]):
        rf = RF(shape=(size,), period=period, alpha=alpha, state_exp=exp, decay_bits=bits, vth=1)
        cos, sin = (np.full((size, 1), int(var.init)) for var in (rf.cos_decay, rf.sin_decay))
        zero = np.zeros((size, 1), int)
        space = StateSpace(
            a_re=cos,
            a_im=sin,
            b_re=zero + 2 ** (exp + 3),
            b_im=zero,
            c_re=zero,
            c_im=zero,
            d=zero[:, 0],
            bias=zero[:, 0],
            vth=zero[:, 0],
            frac_a=bits,
            frac_b=3,
            frac_c=0,
            frac_d=0,
            trace=Trace(f"{folder}/rf{index}", ("re", "im"), 1, STEPS),
        )
        for port in (rf.a_real_in, space.a_in):
            synapse.a_out.connect(port)
        pair = Monitor(), Monitor()
        for monitor, var in zip(pair, (rf.real, rf.imag), strict=True):
            monitor.probe(var, STEPS)
        watched.append((rf, pair, space))
    source.run(RunSteps(STEPS), LavaNetwork.run_config())
    largest, different = [], []
    for rf, pair, space in watched:
        for name, var, monitor in zip(("re", "im"), ("real", "imag"), pair, strict=True):
            seen = monitor.get_data()[rf.name][var]
            recorded = np.load(space.proc_params["trace"].path(name))[..., 0]
            largest.append(int(np.abs(seen).max()))
            if not np.array_equal(seen, recorded):
                different.append(f"{rf.name}|{var}")
    source.stop()
    return {"compared": len(largest), "different": different, "largest": largest}


def intel_lif(folder: Path) -> dict[str, Any]:
    """RefractoryLIF without refractory period, uniform, against Intel's LIFReset, with wraps and saturation."""
    rng, size = np.random.default_rng(4), 32
    source = RingBuffer(data=rng.integers(-(2**17), 2**17, (size, STEPS)).astype(np.int32))
    source.data.init[:, :5] //= 2**9
    synapse = Dense(
        weights=np.eye(size, dtype=int),
        sign_mode=SignMode.EXCITATORY,
        weight_exp=0,
        num_weight_bits=8,
        num_message_bits=24,
    )
    source.s_out.connect(synapse.s_in)
    bias = {"bias_mant": rng.integers(-4096, 4096, size), "bias_exp": rng.integers(0, 8, size)}
    common = {"shape": (size,), "du": 70, "dv": 5, "vth": 100000, **bias, "reset_interval": 17, "reset_offset": 3}
    ours = RefractoryLIF(**common, trace=Trace(f"{folder}/lif", ("u", "v"), 1, STEPS))
    intel = LIFReset(**common)
    monitors = {"u": Monitor(), "v": Monitor()}
    for name, monitor in monitors.items():
        monitor.probe(getattr(intel, name), STEPS)
    for process in (ours, intel):
        synapse.a_out.connect(process.a_in)
    source.run(RunSteps(STEPS), LavaNetwork.run_config())
    seen = {name: monitor.get_data()[intel.name][name] for name, monitor in monitors.items()}
    recorded = {name: np.load(ours.proc_params["trace"].path(name)) for name in seen}
    source.stop()
    return {
        "different": [name for name in seen if not np.array_equal(seen[name], recorded[name])],
        "saturated": bool(np.abs(seen["v"]).max() == 2**23 - 1),
        "spiked": bool((seen["v"] == 0).sum() > size),
    }


class Failing(AbstractProcess):
    """Raises in its third step."""


@implements(proc=Failing, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFailingModel(PyLoihiProcessModel):
    """Raises in its third step."""

    def run_spk(self) -> None:
        if self.time_step == 3:
            raise ZeroDivisionError("third step")


def refused(folder: Path) -> dict[str, Any]:
    """Messages of `build` for models that Lava cannot run."""
    messages = {}
    for path in (folder / "refused").iterdir():
        try:
            build(path)
            messages[path.stem] = "accepted"
        except ValueError as error:
            messages[path.stem] = str(error)
    return messages


def raising(folder: Path) -> dict[str, Any]:
    """A ProcessModel that raises is reported at once, with its traceback."""
    start = time.monotonic()
    try:
        run(Failing(), 10)
    except ProcessModelError as error:
        return {"traceback": str(error), "seconds": time.monotonic() - start}
    return {"traceback": "", "seconds": 0}


def main() -> None:
    print(json.dumps({"ready": True}), flush=True)
    folder = Path(sys.argv[1])
    remember_models()
    # What raises comes last: Lava cannot be stopped after it.
    for check in (monitors, intel_rf, intel_lif, refused, raising):
        print(json.dumps({"check": check.__name__, **check(folder)}), flush=True)
    abandon(0)


if __name__ == "__main__":
    main()
