"""The public S4D layer's parameters as a population: `log_dt`, `log_A_real`, `A_imag`, `C` and `D`.

With ``A = -exp(log_A_real) + i A_imag``, ``dt = exp(log_dt)``, input u and N/2 states per channel:

    x <- exp(dt A) x + (exp(dt A) - 1) / A u
    y  = 2 Re(C x) + D u

The layer computes y by a convolution; this is the same recurrence. ``scale y + shift`` is a batch normalization of y in
evaluation. Source: Gu et al., On the Parameterization and Initialization of Diagonal State Space Models, NeurIPS 2022;
``models/s4/s4d.py`` of state-spaces/s4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy._util.foreign import attribute
from nmdeploy.errors import BadOption
from nmdeploy.neurons.state_space.diagonal import StateSpace


def s4d(
    log_dt: Any,
    log_A_real: Any,
    A_imag: Any,
    C: Any,
    D: Any,
    *,
    v_threshold: Any = 0.0,
    scale: Any = 1.0,
    shift: Any = 0.0,
    **mechanisms: Any,
) -> StateSpace:
    """Return a spiking population with the dynamics of an S4D layer.

    Parameters
    ----------
    log_dt : (H,) array or tensor
    log_A_real, A_imag : (H, N/2)
    C : (H, N/2) complex, or (H, N/2, 2) as real and imaginary part
    D : (H,)
    v_threshold : number or (H,)
        Threshold of ``scale y + shift``; a spike needs more.
    scale, shift : number or (H,)
        Of a batch normalization: ``weight / sqrt(var + eps)`` and ``bias - mean * scale``.
    **mechanisms
        Further fields of `StateSpace`: resets, refractory period, soma, spiking function.

    `BadOption` if the shapes do not fit each other.
    """
    step, real, imag, feed = (_array(value) for value in (log_dt, log_A_real, A_imag, D))
    read = _array(C)
    read = read if np.iscomplexobj(read) else read[..., 0] + 1j * read[..., 1]
    _require_shapes(step, real, imag, read, feed)
    continuous = -np.exp(real) + 1j * imag
    z = np.exp(step)[:, None] * continuous
    factor, one = _array(scale) * np.ones(len(step)), np.ones(len(step))
    return StateSpace(
        a=np.exp(z),
        b=np.expm1(z) / continuous,
        c=2 * factor[:, None] * read,
        d=factor * feed,
        bias=_array(shift) * one,
        v_threshold=_array(v_threshold) * one,
        **mechanisms,
    )


def _require_shapes(step: Any, real: Any, imag: Any, read: Any, feed: Any) -> None:
    states = real.shape
    if real.ndim != 2 or imag.shape != states or read.shape != states or {step.shape, feed.shape} != {states[:1]}:
        raise BadOption(
            f"s4d: log_dt {step.shape}, log_A_real {real.shape}, A_imag {imag.shape}, C {read.shape}, D {feed.shape}: "
            "give (H,), (H, N/2), (H, N/2), (H, N/2) and (H,)"
        )


def _array(value: Any) -> Any:
    """Return an array or a tensor in double precision."""
    detached = attribute(value, "detach")
    found = np.asarray(detached().cpu().numpy() if detached else value)
    return found.astype(np.complex128 if np.iscomplexobj(found) else np.float64)
