"""The base of every synapse family: float weights, and the integer weights that a chip would hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy._util.declarations import require_declared
from nmdeploy._util.frozen import Frozen
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.neurons.base import FloatArray, IntArray, QuantizationConfig
from nmdeploy.neurons.scales import Scales
from nmdeploy.synapses.grids import Grids, no_grids
from nmdeploy.synapses.rows import Rows
from nmdeploy.synapses.scale_group import PER_ROW, ScaleGroup

DECLARED = {"bits": "the width of a weight, or a field of this name"}


class QuantizedSynapse(Frozen, ABC):
    """Integer synapses from one source to one population.

    ``takes_bias``: it can hold a bias, and its NIR form takes over one that the population holds.
    """

    kind: ClassVar[str]
    role: ClassVar[str] = "synapse"
    output_latency: ClassVar[int] = 0
    bits: int
    bias: IntArray | None = None
    sign_mode: str | None = None
    takes_bias: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        require_declared(cls, QuantizedSynapse, DECLARED)

    def hold_steps(self, arriving: int) -> int:
        """Steps over which its sums are constant: those of what arrives."""
        return arriving

    @property
    @abstractmethod
    def rows(self) -> Rows:
        """Integers that an event of each input adds to the outputs that it meets, exactly."""

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self.rows.shape

    def finish(self, sums: Any) -> Any:
        """Return the synaptic sums a of the rows' sums (samples, outputs), elementwise: the same unless overridden."""
        return sums

    def apply(self, s: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the synaptic sums (samples, outputs) of the source's output (samples, inputs)."""
        return np.asarray(self.finish(self.rows.sums(s)))

    @abstractmethod
    def dequantize(self, s: npt.NDArray[Any]) -> FloatArray:
        """Synaptic sums as real numbers in the exported network's units, for real s."""

    @abstractmethod
    def a_max(self, s_max: int) -> IntArray:
        """Largest possible ``abs(a)`` of each output, given ``abs(s) <= s_max``; intermediate sums included."""

    @property
    def fan_out(self) -> IntArray:
        """(inputs,) number of synapses that an event of each input meets."""
        return self.rows.fan_out

    @property
    @abstractmethod
    def footprint_bits(self) -> int:
        """Memory for the synapses, in bits."""

    @property
    def synapse_count(self) -> int:
        """Number of synapses that exist (weight not zero), bias synapses included."""
        return self.rows.nonzero + self.bias_synapses

    def inputs_met(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        """(inputs,) whether an event of each input meets an output of `first` to `last` (exclusive).

        Mapping gives each of them an input axon.
        """
        return self.rows.inputs_met(first, last)

    def footprint_between(self, first: int, last: int) -> int:
        """Memory in bits of the synapses of outputs `first` to `last`: by default their share of `footprint_bits`."""
        outputs = max(self.shape[0], 1)
        return self.footprint_bits * last // outputs - self.footprint_bits * first // outputs

    @property
    def chip_exponents(self) -> tuple[int, ...]:
        """Exponents of the weights as the chip holds them; the profile limits their range."""
        return ()

    @property
    def dropped_bits(self) -> int:
        """Bits of the sums that are floored: those of a negative weight exponent."""
        return 0

    @property
    def rounded_bias(self) -> FloatArray | None:
        """(outputs,) the bias that its codes hold, in the exported network's units; None without one."""
        return None

    @property
    def bias_synapses(self) -> int:
        """Number of synapses from a unit that sends 1 every step."""
        return 0 if self.bias is None else int(np.count_nonzero(self.bias))

    def nir_primitives(self, graph: Any, name: str, source_frac: int, frac_in: int, bias: FloatArray | None) -> None:
        """Add the synapses' node to a NIR graph; `bias` is what a population asks them to carry for it."""
        raise UnsupportedParameter(f"node {name!r}: family {self.kind!r} has no NIR form: give it `nir_primitives`")


class Synapse(Frozen, ABC):
    """Float synapses from one source to one population.

    ``takes_bias``: it can hold a bias.
    """

    kind: ClassVar[str]
    role: ClassVar[str] = "synapse"
    output_latency: ClassVar[int] = 0
    takes_bias: ClassVar[bool] = False
    bias: FloatArray | None = None

    def hold_steps(self, arriving: int) -> int:
        """Steps over which its sums are constant: those of what arrives."""
        return arriving

    def with_bias(self, bias: FloatArray | None) -> Synapse:
        """Return the synapses with `bias` (outputs,), or without one, in place of their own."""
        if bias is None and self.bias is None:
            return self
        raise NotImplementedError(f"{self.kind}: holds no bias")

    def driven(self, factors: FloatArray) -> Synapse:
        """Return the synapses with weights and bias of each output multiplied by `factors` (outputs,)."""
        raise NotImplementedError(f"{self.kind}: its weights are not scaled")

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""

    @abstractmethod
    def apply(self, s: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Synaptic sums (samples, outputs) of the source's output (samples, inputs)."""

    @abstractmethod
    def a_max(self, s_max: float) -> FloatArray:
        """Largest possible ``abs(a)`` of each output, given ``abs(s) <= s_max``."""

    @property
    def scale_group(self) -> ScaleGroup:
        """The outputs that share one scale of the weights: each has its own unless overridden."""
        return PER_ROW

    @abstractmethod
    def row_magnitudes(self) -> FloatArray:
        """(outputs,) the largest weight magnitude of each row, 0 for an empty one."""

    @abstractmethod
    def row_norms(self) -> FloatArray:
        """(outputs,) the Euclidean norm of each row, its bias included."""

    @abstractmethod
    def row_errors(self, quantized: Any, scale: FloatArray) -> FloatArray:
        """(outputs,) the Euclidean norm of ``W_q / scale - W`` of each row, its bias included.

        `quantized` are integer synapses of the same family, `scale` (outputs,) the factor on the weights of each row.
        """

    def grids(self, blocks: IntArray, config: QuantizationConfig) -> Grids:
        """Return the grids on which the weights lie, with codes that the synapses can hold: none unless overridden.

        `blocks` (outputs,) is the block of each output, from 0 on; the outputs of a block have one grid.
        """
        return no_grids(int(blocks.max(initial=-1)) + 1)

    @abstractmethod
    def frac(self, scale: FloatArray, config: QuantizationConfig) -> int:
        """Fraction bits at which the weights times `scale` fill their width."""

    def frac_max(self, scale: FloatArray, source_frac: int, config: QuantizationConfig) -> int:
        """Most fraction bits that the sum can have: the weights', the source's, and the largest shift of the chip."""
        return self.frac(scale, config) + source_frac + config.weight_exp_max

    @abstractmethod
    def choose_scales(self, scale: FloatArray, frac_in: int, source_frac: int, config: QuantizationConfig) -> Scales:
        """Return the scales of integer synapses whose sums have `frac_in` fraction bits.

        `scale` (outputs,) is the factor on the weights of each output. `source_frac` is the number of fraction bits of
        the codes that arrive. Both are among the scales.
        """

    @abstractmethod
    def round(self, scales: Scales, config: QuantizationConfig) -> QuantizedSynapse:
        """Return the integer synapses at `scales`."""

    def quantize(
        self, scale: FloatArray, frac_in: int, source_frac: int, config: QuantizationConfig
    ) -> QuantizedSynapse:
        """Return the integer synapses at the scales that `choose_scales` finds."""
        return self.round(self.choose_scales(scale, frac_in, source_frac, config), config)
