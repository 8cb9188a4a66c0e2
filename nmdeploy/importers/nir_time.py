"""Time step of a NIR file: by option, framework or the file's own numbers, and the doubts about it.

NIR files hold no time step. With a wrong one a network is silent, or loses all memory in a step. So a step under which
every time constant is longer than 1,000 steps, or one is shorter than a step, is named before anything else, with the
one that the file's numbers suggest: exporters write r = tau / dt, count in steps (dt = 1), or assume 1e-3 or 1e-4 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.importers.frameworks import BY_NAME, Values
from nmdeploy.importers.meaning import Meaning
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.base import FloatArray

LONG = 1000
"""Steps of the longest time constant that raises no doubt."""
TAUS = ("tau", "tau_syn", "tau_mem")
USUAL = (1.0, 1e-3, 1e-4)
ROUNDING = 1e-6
Nodes = Mapping[str, tuple[str, Values]]
"""Type and values of each population, by name."""


def meaning_of(source: str, options: ReadOptions, nodes: Nodes) -> Meaning:
    """Return the rules by which a file is read.

    Raises
    ------
    BadOption
        Nothing says the time step.
    UnsupportedParameter
        A time constant is shorter than a step, so that Euler's step overshoots.
    """
    framework = None if options.framework is None else BY_NAME[options.framework]
    dt = options.dt
    if dt is None and framework is not None:
        dt = framework.dt or rockpool_dt(nodes)
    if dt is None:
        hint = suggestion(nodes)
        raise BadOption(
            f"{source}: NIR holds no time step: give the one it was trained with in seconds, e.g. --dt 1e-4 "
            f"(snnTorch exports for 1e-4; files whose IF nodes have r = 1 mean --dt 1){hint and f'; {hint}'}"
        )
    by = "option" if options.dt is not None or (framework and framework.dt) else "source"
    how = Meaning(options, float(dt), by)  # type: ignore[arg-type]
    times = [tau.min() for _, _, tau in _times(nodes)]
    if framework is not None and framework.times_scaled and min(times, default=dt) < dt * (1 - ROUNDING):
        how = replace(how, time_scale=1 / how.dt)
    for name, key, tau in _times(nodes):
        if (tau <= 0).any():
            raise UnsupportedParameter(
                f"node {name!r}: {key} = {tau.min():g}: a time constant is over 0 s: export it again"
            )
    if how.decay == "euler":
        _require_long_enough(how, nodes)
    return how


def _require_long_enough(how: Meaning, nodes: Nodes) -> None:
    for name, key, tau in _times(nodes):
        if (how.dt > how.time_scale * tau * (1 + ROUNDING)).any():
            hint = suggestion(nodes) or "give the --dt that the network was trained with"
            raise UnsupportedParameter(
                f"node {name!r}: {key} = {tau.min():g} s is shorter than dt = {how.dt:g} s, so that Euler's step "
                f"overshoots: {hint}"
            )


def doubt(how: Meaning, nodes: Nodes) -> str | None:
    """Return what makes the time step doubtful, with the one that the file's numbers suggest; None if nothing does."""
    times = [(name, key, how.time_scale * tau / how.dt) for name, key, tau in _times(nodes)]
    hint = suggestion(nodes)
    tail = hint or "give the --dt that the network was trained with"
    if times and min(steps.min() for _, _, steps in times) > LONG:
        shortest = min(float(steps.min()) for _, _, steps in times)
        return f"dt = {how.dt:g} s: every time constant is longer than {LONG:,} steps ({shortest:,.6g} or more): {tail}"
    for name, key, steps in times:
        if steps.min() < 1 - ROUNDING:
            return f"dt = {how.dt:g} s: {key} of {name!r} is shorter than a step ({steps.min():.3g} of one): {tail}"
    gains = [how.gain(kind, p, np.ones(1), np.ones(1)) for kind, p in nodes.values() if kind in ("IF", "I")]
    if not times and gains and max(float(np.abs(gain).max()) for gain in gains) <= (1 + ROUNDING) / LONG:
        return f"dt = {how.dt:g} s: r dt is {gains[0].flat[0]:.3g}, so that an input adds nearly nothing: {tail}"
    return None


def suggestion(nodes: Nodes) -> str:
    """Return the time step that the numbers of a file suggest, as an option in words; empty if none does."""
    scaled = _norse(nodes)
    found = _of_resistances(nodes)
    if found is not None and _fits(found, nodes):
        return f"its r suggests --dt {found:g} (r = tau / dt, or 1 / dt of IF)"
    solved = rockpool_dt(nodes)
    if solved is not None and is_round(solved) and _fits(solved, nodes):
        return f"its r suggests --from rockpool with --dt {solved:g} (r = tau exp(-dt / tau) / dt)"
    if not list(_times(nodes)):
        unit = all((p["r"] == 1).all() for kind, p in nodes.values() if kind in ("IF", "I"))
        return "its r = 1 suggests --dt 1" if unit and nodes else ""
    for dt in USUAL:
        if _fits(dt, nodes):
            return f"its time constants suggest --dt {dt:g}"
    return "its time constants suggest --from norse (multiplied by its dt of 1e-3 s)" if scaled else ""


def _times(nodes: Nodes) -> Iterator[tuple[str, str, FloatArray]]:
    for name, (_, values) in nodes.items():
        yield from ((name, key, values[key]) for key in TAUS if key in values)


def _fits(dt: float, nodes: Nodes) -> bool:
    steps = [tau / dt for _, _, tau in _times(nodes)]
    return all(s.min() >= 1 - 1e-5 for s in steps) and (not steps or min(s.min() for s in steps) <= LONG)


def _norse(nodes: Nodes) -> bool:
    dt = BY_NAME["norse"].dt
    assert dt is not None
    return _fits(dt * dt, nodes) and all((p["r"] == 1).all() for _, p in nodes.values() if "r" in p)


def _of_resistances(nodes: Nodes) -> float | None:
    """Return the dt for which r = tau / dt, or 1 / dt of IF, holds in every population that has r other than 1."""
    found = []
    for _, p in nodes.values():
        tau, r = np.broadcast_arrays(p.get("tau", p.get("tau_mem", np.ones(1))), p["r"])
        with np.errstate(all="ignore"):
            found.append(np.ravel((tau / r)[r != 1]))
    each = np.concatenate(found) if found else np.zeros(0)
    return _agreed(each)


def _agreed(each: FloatArray) -> float | None:
    """Return the number that all are within float32's error, rounded to six digits, if it is a usual step."""
    if not each.size or not np.isfinite(each).all() or each.min() <= 0 or np.ptp(each) > 1e-4 * each.max():
        return None
    found = float(f"{np.median(each):.4g}")
    return found if is_round(found) else None


def is_round(dt: float) -> bool:
    """Return True for one or two significant digits: a step that a person chose."""
    return abs(float(f"{dt:.2g}") - dt) <= 1e-4 * dt


def rockpool_dt(nodes: Nodes) -> float | None:
    """Return the dt for which r = tau exp(-dt / tau) / dt in every population; None if there is none."""
    found = []
    for _, p in nodes.values():
        tau = p.get("tau", p.get("tau_mem"))
        if tau is None:
            return None
        tau, r = np.broadcast_arrays(tau, p["r"])
        found.append(np.ravel(_solved(tau, r)))
    each = np.concatenate(found) if found else np.zeros(0)
    if not each.size or not np.isfinite(each).all() or np.ptp(each) > 1e-4 * each.max():
        return None
    return float(f"{np.median(each):.6g}")


def _solved(tau: FloatArray, r: FloatArray) -> FloatArray:
    """Return dt of r = tau exp(-dt / tau) / dt: Newton's iteration for z = dt / tau of log z + z = -log r."""
    with np.errstate(all="ignore"):
        goal = -np.log(r)
        z = np.where(goal < 0, np.exp(goal), np.maximum(goal, 0.5))
        for _ in range(60):
            z = np.maximum(z - (np.log(z) + z - goal) / (1 / z + 1), z / 4)
    return np.asarray(z * tau)
