"""Samples in arrays of NumPy or tensors of torch, in the form that files give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy._util.foreign import is_instance, tensor_array
from nmdeploy.errors import BadData
from nmdeploy.samples.stored import VECTORS, Array, Stored, name_of_samples

ARRAYS = Path("the arrays")  # names them in errors


def open_arrays(given: Any) -> Stored | tuple[str, ...]:
    """Return arrays as stored samples; their names if none holds samples.

    Parameters
    ----------
    given : array or tensor of the inputs, or mapping of name to array or tensor, with the names of an .npz
    """
    named = given if isinstance(given, Mapping) else {"inputs": given}
    held = {str(name): _array(name, values) for name, values in named.items()}
    found = name_of_samples(ARRAYS, held)
    if found is None:
        return tuple(held)
    samples = held[found]
    vectors = {name: held[name] for name in VECTORS if name in held}
    others = tuple(name for name in held if name not in (found, *VECTORS))
    return Stored(found, samples.shape, samples.dtype, vectors, partial(slices, samples), others=others)


def _array(name: str, values: Any) -> Array:
    try:
        return tensor_array(values) if is_instance(values, "torch", "Tensor") else np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        raise BadData(f"{ARRAYS}: {name!r} is no array of numbers: give one of shape (samples, ...)") from None


def slices(samples: Array, size: int) -> Iterator[Array]:
    """Yield the samples of an array, that many at a time."""
    for first in range(0, len(samples), size):
        yield samples[first : first + size]
