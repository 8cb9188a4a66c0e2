"""Sizes of a population whose neurons have several inputs and outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Dims(ABC):
    """Mixin of float and integer populations that takes their sizes from `dims`."""

    @property
    @abstractmethod
    def dims(self) -> tuple[int, int, int, int]:
        """Sizes (H, N, q, p): neurons, and states, inputs and outputs per neuron."""

    @property
    def size(self) -> int:
        """Number of neurons H."""
        return self.dims[0]

    @property
    def states_per_neuron(self) -> int:
        """States N per neuron."""
        return self.dims[1]

    @property
    def inputs(self) -> int:
        """Inputs q per neuron."""
        return self.dims[2]

    @property
    def outputs(self) -> int:
        """Outputs p per neuron."""
        return self.dims[3]
