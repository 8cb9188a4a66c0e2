"""Layers without a state, as affine maps: linear, batch normalization, scaling, and those that change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy._util.foreign import attribute, is_instance
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.neurons.base import FloatArray

IDENTITY = ("Identity", "Dropout", "Flatten", "Unflatten", "AlphaDropout", "Dropout1d")


@dataclass(frozen=True, eq=False)
class Affine:
    """The map ``y = W x + b``; a weight of shape () or (n,) is a factor, of all values or of each."""

    weight: FloatArray
    bias: FloatArray | None = None

    def after(self, matrix: FloatArray | None, factor: FloatArray) -> tuple[FloatArray | None, FloatArray]:
        """Return W times a map that is a matrix, or only a factor if that is None."""
        if self.weight.ndim == 2:
            inner = self.weight * factor if matrix is None else self.weight @ matrix
            return inner, np.ones(())
        if matrix is None:
            return None, self.weight * factor
        return np.atleast_1d(self.weight)[:, None] * matrix, np.ones(())

    def moved(self, constant: Any) -> Any:
        """Return the map of a constant."""
        moved = (
            self.weight @ np.broadcast_to(constant, self.weight.shape[1:])
            if self.weight.ndim == 2
            else (self.weight * constant)
        )
        return moved if self.bias is None else moved + self.bias


def numbers(tensor: Any) -> FloatArray:
    """Return a tensor, or a number, as float64."""
    detached = attribute(tensor, "detach")
    return np.asarray(detached().cpu().double().numpy() if detached else tensor, np.float64)


def is_stateless(leaf: Any) -> bool:
    """Return True for a layer of torch without states that `affine` may read."""
    return is_instance(leaf, "torch.nn", "Linear") or is_batch_norm(leaf) or passes(leaf)


def is_batch_norm(leaf: Any) -> bool:
    """Return True for a batch normalization of vectors."""
    return is_instance(leaf, "torch.nn", "BatchNorm1d")


def passes(leaf: Any) -> bool:
    """Return True for a layer of torch that changes no value in evaluation."""
    return any(is_instance(leaf, "torch.nn", name) for name in IDENTITY)


def affine(name: str, leaf: Any) -> Affine | None:
    """Return what a layer computes in evaluation; None if it changes nothing."""
    if passes(leaf):
        return None
    if is_batch_norm(leaf):
        return _batch_norm(name, leaf)
    bias = None if leaf.bias is None else numbers(leaf.bias)
    return Affine(numbers(leaf.weight), bias)


def _batch_norm(name: str, leaf: Any) -> Affine:
    if leaf.running_mean is None:
        raise UnsupportedParameter(
            f"layer {name!r}: a batch normalization without running statistics normalizes over the batch: train it "
            "with track_running_stats=True"
        )
    scale = 1 / np.sqrt(numbers(leaf.running_var) + leaf.eps)
    weight = numbers(leaf.weight) * scale if leaf.weight is not None else scale
    shift = numbers(leaf.bias) if leaf.bias is not None else np.zeros_like(scale)
    return Affine(weight, shift - numbers(leaf.running_mean) * weight)
