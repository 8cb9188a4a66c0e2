"""The base of every neuron family: a float population, and the integer population that a chip would hold.

A family is one file of this folder. It defines a subclass of `Neuron`: float parameters, one float step, the choice of
scales and the rounding. It also defines a subclass of `QuantizedNeuron`: integer parameters, and the integer step as
three functions, `integrate`, `fire` and `reset`. `nmdeploy.network.families` finds it, and the tests run over all
families that are found.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from nmdeploy._util.declarations import require_declared
from nmdeploy._util.frozen import Frozen
from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.neurons.config import QuantizationConfig as QuantizationConfig
from nmdeploy.neurons.config import QuantizationContext as QuantizationContext
from nmdeploy.neurons.described import Described
from nmdeploy.neurons.rounded import HeldTensor, RoundedPopulation, RoundedTensor
from nmdeploy.neurons.scales import Scales

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
Registers: TypeAlias = tuple[tuple[Any, ...], tuple[Any, ...]]
FloatState: TypeAlias = Mapping[str, npt.NDArray[Any]]
Emits: TypeAlias = Literal["binary", "signed", "graded", "values"]

EMITS: tuple[str, ...] = get_args(Emits)
SPIKES = ("binary", "signed")


UNKNOWN_STEPS = (1 << 31) - 1
"""A sample's steps while it arrives step by step; no sample has as many."""


class StepTime(NamedTuple):
    """Position in time of a step: the population's own `step`, 0 at its first real input, and a sample's `steps`.

    `steps` is one number, or one per sample: (samples, 1). A sample that still arrives has `UNKNOWN_STEPS`. So a step
    must depend on `steps` by ``step < steps`` alone: a sample's last step cannot know that it is the last.
    """

    step: int
    steps: Any


DECLARED = {"emits": f"one of {', '.join(map(repr, EMITS))}"}


class Population(Frozen, ABC):
    """Declarations that float and integer populations share.

    A family declares them as class variables, or as properties if its fields decide. Nothing is guessed: whatever has
    no default here must be declared, and a family without it is refused when its class is defined.

    Attributes
    ----------
    kind : str
        Name of the family, the same for its float and its integer population.
    emits : {"binary", "signed", "graded", "values"}
        Outputs of a step: a spike (0, 1), a spike with a sign (-1, 0, 1), an integer code as an event, with 0 for no
        event, or a value in every step that is no event. No default.
    send_once : bool
        True if the outputs of a window are sent in its first step only: the approximate form of windows.
    """

    kind: ClassVar[str]
    role: ClassVar[str] = "population"
    emits: ClassVar[Emits]
    send_once: bool = False

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of neurons H."""

    @property
    def inputs(self) -> int:
        """Synaptic sums per neuron."""
        return 1

    @property
    def outputs(self) -> int:
        """Outputs per neuron."""
        return 1

    @property
    def input_size(self) -> int:
        """Number of synaptic sums, H times the inputs per neuron."""
        return self.size * self.inputs

    @property
    def output_size(self) -> int:
        """Number of outputs, H times those per neuron."""
        return self.size * self.outputs

    @property
    def spiking(self) -> bool:
        """True if the outputs are events: spikes or graded codes."""
        return self.emits != "values"

    @property
    def feeds_synapses(self) -> bool:
        """True if the outputs may feed synapses: events may, the values of a readout may not."""
        return self.spiking

    @property
    def output_latency(self) -> int:
        """Steps by which an output is later than the inputs that it depends on: a window's length less one."""
        return 0

    @property
    def membrane_register(self) -> str | None:
        """Name of the recorded state that is the membrane, for a readout; None if the family cannot give it."""
        return None

    def hold_steps(self, arriving: int) -> int:
        """Steps over which outputs are constant, if all that arrives is constant over `arriving` steps."""
        return 1


class QuantizedNeuron(Population):
    """Population of integer neurons.

    ``state_registers`` names the registers of a neuron's N states (shape (H, N)), ``neuron_registers`` those of the
    neuron (shape (H,)), ``recorded`` those that a recording stores. ``per_state`` is true if state registers are
    recorded with their state axis. ``flags`` names the overflows that are counted, in the order in which `integrate`
    and `reset` return them.
    """

    state_registers: ClassVar[tuple[str, ...]]
    neuron_registers: ClassVar[tuple[str, ...]]
    recorded: ClassVar[tuple[str, ...]]
    flags: ClassVar[tuple[str, ...]]
    per_state: ClassVar[bool] = False
    state_bits: int
    frac_in: int
    scale: FloatArray

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        require_declared(cls, QuantizedNeuron, DECLARED)

    @property
    def output_max(self) -> int:
        """Largest magnitude of an output code: 1 of a spike; of codes and values, by default, what a state holds."""
        return 1 if self.emits in SPIKES else (1 << (self.state_bits - 1)) - 1

    @property
    def output_frac(self) -> int:
        """Fraction bits of an output code."""
        return 0 if self.emits in SPIKES else self.frac_in

    def dequantize_output(self, codes: npt.NDArray[Any]) -> FloatArray:
        """Return outputs in units of the float network."""
        return np.ldexp(np.asarray(codes, np.float64), -self.output_frac)

    @property
    def recorded_bits(self) -> Mapping[str, int]:
        """Bits that a code of a recorded state needs at most, by state; 64 where none are given."""
        return {}

    @property
    def scales(self) -> Scales:
        """Scales of its integers: the fields whose names begin with ``frac_``, and the factor on its inputs."""
        fracs = {f.name: getattr(self, f.name) for f in fields(self) if f.name.startswith("frac_")}  # type: ignore[arg-type]
        return Scales(self.scale, fracs)

    @property
    def random_seed(self) -> int | None:
        """Seed of the random numbers that spikes are drawn with; None for a population that draws none."""
        return None

    @property
    def unstable(self) -> bool:
        """True if a state grows without input until it saturates; the export then checks it on the calibration data."""
        return False

    def check_declared(self, name: str) -> None:
        """`BadOption` if `emits` is no kind of output, or says spikes although a larger code can be sent."""
        if self.emits not in EMITS:
            raise BadOption(f"node {name!r}: family {self.kind!r} emits {self.emits!r}: declare one of {EMITS}")
        if self.emits in SPIKES and self.output_max != 1:
            raise BadOption(
                f"node {name!r}: family {self.kind!r} emits {self.emits!r} spikes and codes up to {self.output_max}: "
                "declare emits = 'graded', or output_max 1"
            )

    def held_tensors(self, source: Any = None) -> Mapping[str, HeldTensor] | None:
        """Return its integers as real numbers, by the names of the float population's tensors; None if it cannot say.

        `source` is the float population. Without it, what only the float population knows is left out: states then
        have units of their own.
        """
        return None

    def remedy(self, tensor: str) -> str:
        """Return what lowers the loss of a tensor of `Neuron.rounded`, or of ``floors`` and ``states``, in words."""
        return "retrain with values of like magnitude, or choose another neuron"

    @property
    def adds_bias(self) -> bool:
        """True if its bias is added to its synaptic sums, as that of a synapse is: either of them can hold it."""
        return False

    @property
    def states_per_neuron(self) -> int:
        """Number of states N per neuron; a state has one register for each of `state_registers`."""
        return 1

    @abstractmethod
    def check_overflow(self, name: str, a_max: IntArray) -> None:
        """Raise `OverflowPossible` unless no intermediate value can leave its width, given ``abs(a) <= a_max``."""

    @abstractmethod
    def dequantize_state(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        """Return a recorded integer state in the units of the float network."""

    def nir_primitives(self, graph: Any, name: str, bias_goes_into_synapse: bool) -> FloatArray | None:
        """Add the population's nodes to a NIR graph; return the bias that its first synapse is to carry, if any."""
        raise UnsupportedParameter(f"node {name!r}: family {self.kind!r} has no NIR form: give it `nir_primitives`")

    def nir_losses(self) -> Sequence[str]:
        """Name all that NIR's primitives do not say of the population, and what other readers do, a line each."""
        return ()

    @property
    @abstractmethod
    def footprint_bits(self) -> int:
        """Memory for parameters and states, in bits."""

    @property
    def real_states(self) -> int:
        """Real state variables per neuron."""
        return len(self.state_registers) * self.states_per_neuron

    def start(self, samples: int, dtype: Any = np.int64) -> Registers:
        """Return the registers at rest for `samples` samples."""
        states = np.zeros((samples, self.size, self.states_per_neuron), dtype)
        register = np.zeros((samples, self.size), dtype)
        return tuple(states for _ in self.state_registers), tuple(register for _ in self.neuron_registers)

    @abstractmethod
    def advance(self, registers: Registers, a: Any, now: StepTime) -> tuple[Registers, Any, list[Any]]:
        """Run one step of the whole population: ``-> (registers', output, overflow flags)``.

        Parameters
        ----------
        registers : Registers
            As `start` returns them.
        a : (samples, input_size) integers
            Synaptic sums.
        now : StepTime
            The population's own step. After the last one, only a population with `output_latency` is advanced.
        """

    def recorded_states(self, registers: Registers) -> dict[str, Any]:
        """Return the values that a recording stores, by name: (samples, H) or (samples, H, N)."""
        states, z = registers
        everything = dict(zip(self.state_registers, states, strict=True)) | dict(
            zip(self.neuron_registers, z, strict=True)
        )
        flat = () if self.per_state else self.state_registers
        return {name: everything[name][..., 0] if name in flat else everything[name] for name in self.recorded}

    def membrane_codes(self, states: Mapping[str, npt.NDArray[Any]], outputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the membranes from before their reset, in the shape and units of state `membrane_register`.

        Parameters
        ----------
        states : mapping of str to (samples, steps, ...)
            All recorded states after each step.
        outputs : (samples, steps, output_size)
            What was sent in each step.
        """
        assert self.membrane_register is not None
        return states[self.membrane_register]


class ThreePartNeuron(QuantizedNeuron):
    """Population whose step is three functions: `integrate` for each state, `fire` for each neuron, and `reset`.

    A neuron has one input and one output. `fire` receives the sum over the states of the parts that `integrate`
    returns.
    """

    @property
    @abstractmethod
    def state_params(self) -> NamedTuple:
        """Parameters of `integrate` and `reset`, each broadcastable to (H, N)."""

    @property
    @abstractmethod
    def neuron_params(self) -> NamedTuple:
        """Parameters of `fire`, each broadcastable to (H,)."""

    @abstractmethod
    def integrate(self, states: Any, a: Any, z: Any, p: Any) -> tuple[Any, Any, Any]:
        """Advance one state's registers: ``-> (registers', parts of y, overflow flags)``."""

    @abstractmethod
    def fire(self, y: Any, a: Any, z: Any, p: Any, step: Any) -> tuple[Any, Any, Any]:
        """Advance the neuron's registers: ``-> (s, reset condition, z')``; y holds the sums over the states."""

    @abstractmethod
    def reset(self, states: Any, s: Any, condition: Any, z: Any, p: Any) -> tuple[Any, Any]:
        """Apply the reset action to one state's registers: ``-> (registers', overflow flags)``."""

    def advance(self, registers: Registers, a: Any, now: StepTime) -> tuple[Registers, Any, list[Any]]:
        states, z = registers
        states, parts, update_overflows = self.integrate(
            states, a[..., None], tuple(r[..., None] for r in z), self.state_params
        )
        y = tuple(part.sum(-1) for part in parts)
        s, condition, z = self.fire(y, a, z, self.neuron_params, now.step)
        wide = tuple(r[..., None] for r in z)
        states, reset_overflows = self.reset(states, s[..., None], condition[..., None], wide, self.state_params)
        return (states, z), s, [*update_overflows, *reset_overflows]


class LinearResponse(NamedTuple):
    """Response of a membrane to its synaptic sum between spikes; a spike sets the membrane to 0.

    ``u <- alpha * u + a``, ``v <- beta * v + u``; a spike needs more than `threshold`. Each is an array (H,).
    """

    alpha: FloatArray
    beta: FloatArray
    threshold: FloatArray


class Neuron(Described, Population):
    """Population of float neurons.

    The float step is ``step(state, a, now) -> (state', output)``. `observe` names the magnitudes that fix the scales.
    With ``per_channel``, the weights of each row get their own factor. With ``unscaled``, no weight may get one. A bias
    that the population does not add by itself is held by at most ``bias_terms`` synapses per neuron.
    """

    per_channel: ClassVar[bool] = False
    unscaled: ClassVar[bool] = False
    bias_terms: ClassVar[int] = 1
    membrane_name: ClassVar[str] = "v"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        require_declared(cls, Neuron, DECLARED)

    def output_range(self, ranges: Mapping[str, FloatArray]) -> tuple[float, int]:
        """Return the largest magnitude of an output, and the fraction bits of its code: 1 and 0 for spikes."""
        return 1.0, 0

    @property
    def row_factors(self) -> bool:
        """True if the weights of each input can have a factor of their own; with ``per_channel`` they always do."""
        return self.per_channel

    def factors_max(self, frac: int, a_max: FloatArray, ranges: Mapping[str, FloatArray]) -> FloatArray:
        """Return the largest factor (input_size,) on each input with which its sums can have `frac` fraction bits.

        `a_max` and `ranges` are those of `QuantizationContext`, unscaled.
        """
        return np.full(self.input_size, np.inf)

    @property
    def linear_response(self) -> LinearResponse | None:
        """Response of the membrane to the sums; None if the family has none, which leaves its rows as they are."""
        return None

    @property
    def adds_bias(self) -> bool:
        """True if the population can add a bias to its synaptic sums by itself: `with_input_bias`."""
        return False

    def with_input_bias(self, bias: FloatArray) -> Neuron:
        """Return the population that adds `bias` (input_size,) to its sums, on top of what it adds already."""
        raise NotImplementedError(f"{self.kind}: adds no bias to its synaptic sums")

    def rounded_decays(self) -> tuple[Neuron, FloatArray]:
        """Return the population with the decays of its integers, and the factor (H,) that would keep its steady gain.

        The factor is on all that drives it; it is 1 where no decay changes, and unless overridden.
        """
        return self, np.ones(self.input_size)

    def driven(self, factors: FloatArray) -> Neuron:
        """Return the population with its own constant drive multiplied by `factors` (input_size,)."""
        raise NotImplementedError(f"{self.kind}: its drive is not scaled")

    @abstractmethod
    def start(self, samples: int, dtype: Any = np.float64) -> FloatState:
        """Return the states at rest for `samples` samples, in the real type `dtype`."""

    @abstractmethod
    def step(self, state: FloatState, a: npt.NDArray[Any], now: StepTime) -> tuple[FloatState, npt.NDArray[Any]]:
        """Run one step on synaptic sums a (samples, input_size): ``-> (state', output)``."""

    @abstractmethod
    def observe(self, state: FloatState) -> dict[str, FloatArray]:
        """Return the largest magnitudes over the samples, by name, which bound the integer registers."""

    @abstractmethod
    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        """Return static bounds of these magnitudes, given ``abs(a) <= a_max``, for export without calibration data."""

    @abstractmethod
    def membrane(self, state: FloatState) -> FloatArray:
        """Return the float counterpart of the recorded integer state `membrane_name`, (samples, H)."""

    def membrane_before_reset(self, state: FloatState) -> FloatArray:
        """Return the membrane of this step from before its reset, (samples, H) or (samples, H, p)."""
        return self.membrane(state)

    @abstractmethod
    def choose_scales(self, name: str, context: QuantizationContext, config: QuantizationConfig) -> Scales:
        """Return the scales of the integer population; refuse parameters that no scale makes deployable."""

    @abstractmethod
    def round(self, name: str, scales: Scales, config: QuantizationConfig) -> tuple[QuantizedNeuron, Sequence[str]]:
        """Return the integer population at `scales`, and a line for each change that was necessary."""

    def rounded(self, quantized: Any) -> RoundedPopulation | None:
        """Return the float values that the integers `quantized` of this population hold; None if it cannot say.

        Without them, effects of its single tensors are not available. The effect of all of them together is.
        """
        held = quantized.held_tensors(self)
        if held is None:
            return None
        return RoundedPopulation({name: RoundedTensor(self.tensor(name), *each) for name, each in held.items()})

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """Return the tensor `name` of `rounded`: by default the field of that name."""
        return np.asarray(getattr(self, name))

    def with_tensor(self, name: str, values: npt.NDArray[Any]) -> Neuron:
        """Return the population with `values` as the tensor `name` of `rounded`: by default the field of that name."""
        return replace(self, **{name: values})  # type: ignore[type-var]

    def quantize(
        self, name: str, context: QuantizationContext, config: QuantizationConfig
    ) -> tuple[QuantizedNeuron, Sequence[str]]:
        """Return the integer population at the scales of `choose_scales`, and the lines of `round`."""
        return self.round(name, self.choose_scales(name, context, config), config)


def refractory_losses(steps: int) -> tuple[str, ...]:
    """Return the line of `QuantizedNeuron.nir_losses` for a refractory period, none without one."""
    return (f"its refractory period of {steps} steps has no primitive: other readers have none",) if steps else ()


def power_below(limit: float, magnitude: float, default: int = 0) -> int:
    """Return the largest integer e with ``magnitude * 2**e <= limit``; `default` for magnitude 0.

    >>> power_below(127, 1.0), power_below(127, 127.0), power_below(127, 128.0), power_below(127, 5e-324)
    (6, 0, -1, 1080)
    """
    if magnitude <= 0:
        return default
    (m, p), (top, q) = math.frexp(magnitude), math.frexp(limit)
    return q - p if m <= top else q - p - 1
