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

from nmdeploy.lava import DiagonalDynamics, Latch, LavaNetwork, Mechanisms, RefractoryLIF, StateSpace, Trace, build
from nmdeploy.lava.worker import ProcessModelError, abandon, remember_models, run

STEPS = 40
LATCHED = {"s1.latch": "g", "s2.latch": "k"}


def monitors(folder: Path) -> dict[str, Any]:
    """Recordings of a model file's populations against Lava's Monitors on the same Vars and Ports."""
    network = build(folder / "monitored.nir", steps=STEPS, record="states", folder=folder)
    inputs = np.load(folder / "monitored.npy")
    network.connect_input(RingBuffer(data=inputs.T.astype(np.int32)).s_out)
    total = network.duration
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
        seen = monitor.get_data()[process_name][var].reshape(total, -1)[network.arrival_step[population] :][:STEPS]
        recorded = np.load(network.traces[population].path(name)).reshape(STEPS, -1)
        if not np.array_equal(seen, recorded) or not recorded.any():
            different.append(f"{population}|{name}")
    process.stop()
    return {"compared": len(watched), "different": different}


def as_state_space(rf: RF, size: int, exp: int, bits: int, trace: Trace) -> StateSpace:
    """The same neurons as `rf`."""
    cos, sin = (np.full((size, 1), int(var.init)) for var in (rf.cos_decay, rf.sin_decay))
    each = np.ones((size, 1, 1), int)
    dynamics = DiagonalDynamics(
        a_re=cos,
        a_im=sin,
        b_re=2 ** (exp + 3) * each,
        b_im=0 * each,
        c_re=4 * each,
        c_im=0 * each,
        d=0,
        bias=0,
        frac_a=bits,
        frac_b=3,
        frac_c=2,
        frac_d=0,
    )
    mechanisms = Mechanisms(vth=each[..., 0] * int(rf.vth.init), spike="phase")
    return StateSpace(dynamics=dynamics, mechanisms=mechanisms, trace=trace)


def intel_rf(folder: Path) -> dict[str, Any]:
    """StateSpace with one state and phase spikes against Intel's fixed-point RF; growing ones saturate."""
    rng, size, exp, bits, vth = np.random.default_rng(3), 6, 6, 12, 20
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
        rf = RF(shape=(size,), period=period, alpha=alpha, state_exp=exp, decay_bits=bits, vth=vth)
        trace = Trace(f"{folder}/rf{index}", ("re", "im", "spikes"), 1, STEPS)
        space = as_state_space(rf, size, exp, bits, trace)
        for port in (rf.a_real_in, space.a_in):
            synapse.a_out.connect(port)
        monitors = {"re": Monitor(), "im": Monitor(), "spikes": Monitor()}
        for monitor, var in zip(monitors.values(), (rf.real, rf.imag, rf.s_out), strict=True):
            monitor.probe(var, STEPS)
        watched.append((rf, monitors, space))
    source.run(RunSteps(STEPS), LavaNetwork.run_config())
    largest, different, spikes = [], [], []
    for rf, monitors, space in watched:
        for name, monitor in monitors.items():
            (seen,) = monitor.get_data()[rf.name].values()
            recorded = np.load(space.proc_params["trace"].path(name)).reshape(seen.shape)
            if name == "spikes":
                spikes.append(int(seen.sum()))
            else:
                largest.append(int(np.abs(seen).max()))
            if not np.array_equal(seen, recorded):
                different.append(f"{rf.name}|{name}")
    source.stop()
    return {"different": different, "largest": largest, "spikes": spikes}


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


def windows(folder: Path) -> dict[str, Any]:
    """What the populations of the models with windows send and record."""
    return {name: _windows(folder, name) for name in ("windows", "send_once")}


def _windows(folder: Path, model: str) -> dict[str, Any]:
    (folder / f"{model}.d").mkdir()
    data = np.load(folder / "windows.npy")
    network = build(
        folder / f"{model}.nir", steps=data.shape[1], samples=len(data), record="states", folder=folder / f"{model}.d"
    )
    spaced = np.zeros((len(data), network.interval, 1), np.int32)
    spaced[:, : data.shape[1]] = data
    network.connect_input(RingBuffer(data=spaced.reshape(-1, 1).T).s_out)
    total = (len(data) - 1) * network.interval + network.duration
    ports = {name: network.processes[name].s_out for name in ("w", "g")}
    ports |= {name: process.a_out for name, process in network.processes.items() if isinstance(process, Latch)}
    monitors = {name: Monitor() for name in ports}
    for name, port in ports.items():
        monitors[name].probe(port, total)
    output = network.processes[network.output]
    output.run(RunSteps(total), LavaNetwork.run_config())
    sent = {}
    for name, monitor in monitors.items():
        ((values,),) = (of_process.values() for of_process in monitor.get_data().values())
        # A latch sends in its receiver's own steps.
        late = network.departure_step[name] if name in network.arrival_step else network.arrival_step[LATCHED[name]]
        sent[name] = [values[late + i * network.interval :][: network.steps].tolist() for i in range(len(data))]
    output.stop()
    recorded = {
        f"{name}|{array}": _samples(np.load(trace.path(array)), network)
        for name, trace in network.traces.items()
        for array in trace.names
    }
    return {"sent": sent, "recorded": recorded, "interval": network.interval, "latency": network.latency}


def _samples(rows: np.ndarray, network: LavaNetwork) -> list[Any]:
    return rows.reshape(-1, network.interval, *rows.shape[1:])[:, : network.steps].tolist()


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
    for check in (monitors, intel_rf, intel_lif, windows, refused, raising):
        print(json.dumps({"check": check.__name__, **check(folder)}), flush=True)
    abandon(0)


if __name__ == "__main__":
    main()
