"""Intel's Dense and DelayDense, made from the integers of a model."""
# mypy: disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from numpy.typing import NDArray

from nmdeploy.lava.population import Population
from nmdeploy.lava.sample_gate import SampleGate

# Any number above 0 makes Dense and Sparse multiply by its input; with 0 it takes every input for a single spike.
GRADED = 24
LONGEST_DELAY = 63


def make_synapse(name: str, node: dict[str, Any], sources: list[Population]) -> Dense | Sparse:
    """Return a Dense or a Sparse with the weights of `node`, for the sum of the outputs of `sources`.

    Raises
    ------
    ValueError
        A weight exceeds the range of its sign mode and bits.
    """
    binary = len(sources) == 1 and sources[0].binary
    return KINDS[node["kind"]](name, node, 0 if binary else GRADED)


def _make_dense(name: str, node: dict[str, Any], message_bits: int) -> Dense:
    weights = np.array(node["weight"], np.int64)
    if weights.ndim != 2 or not weights.size:
        raise ValueError(f"synapse {name!r}: its weights have shape {list(weights.shape)}; a matrix is needed")
    return _dense(name, node, weights, node["weight_exp"], message_bits)


def _make_sparse(name: str, node: dict[str, Any], message_bits: int) -> Sparse:
    from scipy.sparse import csc_matrix  # a dependency of Lava

    offsets, targets, codes = (np.array(node[key], np.int64) for key in ("offsets", "targets", "codes"))
    shape = int(node["outputs"]), len(offsets) - 1
    if min(shape) < 1:
        raise ValueError(f"synapse {name!r}: its weights have shape {list(shape)}; a matrix is needed")
    shift = _shift(name, node, codes)
    weights = csc_matrix(((codes << shift).astype(np.int32), targets, offsets), shape=shape)
    return Sparse(weights=weights, **_formats(name, node, node["weight_exp"], shift, message_bits))


KINDS = {"dense": _make_dense, "sparse": _make_sparse}


def make_bias(name: str, node: dict[str, Any]) -> Dense:
    """Return a Dense from one unit that sends 1 in every step, with the mixed-sign bias codes of `node`."""
    codes = np.array(node["bias"], np.int64).reshape(-1, 1)
    return _dense(name, {**node, "sign_mode": "mixed"}, codes, node["bias_exp"], 0)


def make_delay(name: str, size: int, steps: int) -> DelayDense:
    """Return an identity that delays by `steps` steps, 1 or more.

    Raises
    ------
    ValueError
        `steps` is over 64: Loihi delays by at most 63 steps, and the connection itself takes one.
    """
    if steps > LONGEST_DELAY + 1:
        raise ValueError(f"{name}: needs {steps} steps; a connection delays by {LONGEST_DELAY + 1} at most")
    return DelayDense(
        weights=np.eye(size, dtype=np.int32),
        delays=steps - 1,
        weight_exp=0,
        num_weight_bits=8,
        sign_mode=SignMode.EXCITATORY,
        num_message_bits=GRADED,
        name=name,
    )


def make_sample_gate(name: str, size: int, interval: int, start: int, delay: int) -> SampleGate:
    """Return a SampleGate for an edge with a delay."""
    return SampleGate(shape=(size,), interval=interval, start=start, delay=delay, name=name)


def _dense(name: str, node: dict[str, Any], codes: NDArray[np.int64], exponent: int, message_bits: int) -> Dense:
    shift = _shift(name, node, codes)
    formats = _formats(name, node, exponent, shift, message_bits)
    return Dense(weights=(codes << shift).astype(np.int32), **formats)


def _shift(name: str, node: dict[str, Any], codes: NDArray[np.int64]) -> int:
    """Bits by which Loihi's weights of 8 bits and a sign exceed `codes`; refuse codes beyond their width."""
    bits = node["bits"]
    unit = {
        "mixed": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 9 - bits),
        "excitatory": (0, 2**bits - 1, 8 - bits),
        "inhibitory": (-(2**bits - 1), 0, 8 - bits),
    }
    if node["sign_mode"] not in unit:
        raise ValueError(f"synapse {name!r}: sign_mode {node['sign_mode']!r}; known are {', '.join(unit)}")
    low, high, shift = unit[node["sign_mode"]]
    if shift < 0 or bits < 1:
        raise ValueError(f"synapse {name!r}: weights of {bits} bits; Loihi holds 1 to 8")
    least, most = codes.min(initial=0), codes.max(initial=0)
    if least < low or most > high:
        raise ValueError(
            f"synapse {name!r}: codes {least} to {most}; {node['sign_mode']} weights of {bits} bits are {low} to {high}"
        )
    return int(shift)


def _formats(name: str, node: dict[str, Any], exponent: int, shift: int, message_bits: int) -> dict[str, Any]:
    """Arguments that Dense and Sparse share."""
    return {
        "weight_exp": int(exponent) - shift,
        "num_weight_bits": 8,
        "sign_mode": SignMode[node["sign_mode"].upper()],
        "num_message_bits": message_bits,
        "name": name,
    }
