"""Comparison of runs value by value, and of the integer network with the float network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.shown import Shown, Summary, counted, named
from nmdeploy.network.network import Network, QuantizedNetwork, readout_values
from nmdeploy.network.reading import Reading, reading_of
from nmdeploy.neurons.base import IntArray, Neuron
from nmdeploy.recording.types import Recording

if TYPE_CHECKING:
    from nmdeploy.network.float_run import FloatRun

SHOWN = ("compared with", "samples", "steps", "values compared", "mismatches", "first divergence")
NOT_VERIFIED = "NOT VERIFIED AGAINST LAVA"


@dataclass(frozen=True)
class Divergence:
    """First value that differs, in the order of sample, then step, then layer from the input on."""

    sample: int
    layer: str
    kind: str
    neuron: int
    state: int | None
    step: int
    expected: int
    actual: int


@dataclass(frozen=True)
class Comparison:
    """Comparison of one backend's run with another's.

    ``steps`` is the length of the longest sample, ``valid_steps`` the total over all samples.
    """

    reference: str
    candidate: str
    samples: int
    steps: int
    valid_steps: int
    values_compared: int
    mismatches: int
    first_divergence: Divergence | None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Comparison:
        """Return the comparison that a report's JSON describes."""
        first = values["first_divergence"]
        return cls(**{**values, "first_divergence": None if first is None else Divergence(**first)})


@dataclass(frozen=True)
class Agreement:
    """Agreement of the float and the integer run of one layer.

    ``spike_agreement`` is the share of (sample, step, output) with the same spike or graded value. ``membrane_snr_db``
    is ``10 log10(sum(y**2) / sum((y - y_q)**2))``, in dB, of the float membrane y and the dequantized integer one y_q.
    """

    spike_agreement: float | None
    membrane_snr_db: float | None


def shown(accuracy: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """Return the accuracies of a verification or report by name, without their intervals."""
    return [(name, share) for name, share in accuracy.items() if name != "interval"]


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """Result of a verification.

    ``equal`` is true if at least one comparison was made and none found a difference. ``status`` is the same in words,
    or ``NOT VERIFIED AGAINST LAVA: reason`` if Lava could not run. ``accuracy`` is as `nmdeploy.analysis.accuracy`
    returns it. ``warnings`` name populations that never or always spike, a readout that is far from that of the float
    network, and an accuracy at chance.
    """

    comparisons: tuple[Comparison, ...]
    accuracy: Mapping[str, Any]
    overflows: Mapping[str, Mapping[str, int]]
    agreement: Mapping[str, Agreement] | None = None
    not_verified: str | None = None
    warnings: tuple[str, ...] = ()
    read_as: Reading | None = None
    status: str = field(init=False)

    def __post_init__(self) -> None:
        if self.not_verified is not None:
            status = f"{NOT_VERIFIED}: {self.not_verified}"
        else:
            status = "equal" if self.equal else "different" if self.comparisons else "nothing compared"
        object.__setattr__(self, "status", status)

    @property
    def equal(self) -> bool:
        """True if at least one comparison was made and every value was equal in all of them."""
        return bool(self.comparisons) and all(c.mismatches == 0 for c in self.comparisons)

    def summary(self) -> Summary:
        """Return what `repr` and a notebook show: a row per backend that was compared with."""
        shares = {name: "not known" if share is None else f"{share:.4f}" for name, share in shown(self.accuracy)}
        overflows = sum(n for counts in self.overflows.values() for n in counts.values())
        facts = (
            self.status,
            f"backends compared: {named([c.candidate for c in self.comparisons]) or 'none'}",
            "accuracy " + ", ".join(f"{name} {share}" for name, share in shares.items()),
            counted(overflows, "overflow"),
        )
        rows = [_cells(comparison) for comparison in self.comparisons]
        return Summary("Verification", facts, SHOWN, rows)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON values that ``nmdeploy verify --json`` prints; docs/formats.md has their JSON Schema."""
        return {
            "equal": self.equal,
            "status": self.status,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "accuracy": dict(self.accuracy),
            "import": _held(self.read_as, "comparison"),
            "expected": _held(self.read_as, "expected"),
            "overflows": {name: dict(counts) for name, counts in self.overflows.items()},
            "agreement": None if self.agreement is None else {n: asdict(each) for n, each in self.agreement.items()},
            "warnings": list(self.warnings),
            "read_as": None if self.read_as is None else self.read_as.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Verification:
        """Return the verification that `to_json` described."""
        agreement = values["agreement"]
        return cls(
            comparisons=tuple(map(Comparison.from_json, values["comparisons"])),
            accuracy=values["accuracy"],
            overflows=values["overflows"],
            warnings=tuple(values.get("warnings", ())),
            agreement=None if agreement is None else {name: Agreement(**each) for name, each in agreement.items()},
            not_verified=values["status"].removeprefix(f"{NOT_VERIFIED}: ")
            if values["status"].startswith(NOT_VERIFIED)
            else None,
            read_as=reading_of(values),
        )


def _held(reading: Reading | None, key: str) -> dict[str, Any] | None:
    """Return what a reading keeps of the import of its source; None if it was not compared."""
    return None if reading is None else reading.to_json().get(key)


def _cells(comparison: Comparison) -> tuple[object, ...]:
    c, first = comparison, comparison.first_divergence
    where = "-" if first is None else f"sample {first.sample}, step {first.step}, {first.layer}, {first.kind}"
    return c.candidate, c.samples, c.steps, f"{c.values_compared:,}", f"{c.mismatches:,}", where


def values(recording: Recording) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """Yield every traced array as (layer, kind, (samples, steps, neurons[, states])), sources first."""
    for name, layer in recording.layers.items():
        if layer.spikes is not None:
            yield name, "spikes", layer.spikes
        for state, array in layer.states.items():
            yield name, state, array


def compare(reference: Recording, candidate: Recording) -> Comparison:
    """Compare every spike and every state of two recordings of the same network and inputs.

    Values after the end of a sample are not compared.

    Raises
    ------
    ValueError
        The two traced different things, or samples of different lengths: a comparison must not pass by an omission.
    """
    expected = {(name, kind): array for name, kind, array in values(reference)}
    actual = {(name, kind): array for name, kind, array in values(candidate)}
    if set(expected) != set(actual) or not expected:
        raise ValueError(f"recordings traced different things: {sorted(set(expected) ^ set(actual)) or 'nothing'}")
    if not np.array_equal(reference.lengths, candidate.lengths):
        raise ValueError("recordings of samples of different lengths")
    found = Differences()
    for index, ((name, kind), array) in enumerate(expected.items()):
        other = actual[name, kind]
        if array.shape != other.shape:
            raise ValueError(f"{name} {kind}: shapes {array.shape} and {other.shape} differ")
        for sample, length in enumerate(reference.lengths):  # one by one, to leave out padding and save memory
            found.add((name, kind), (index, 0), sample, array[sample, :length], other[sample, :length])
    return found.comparison(reference, candidate)


class Differences:
    """Differences of two runs, which are found array by array and piece by piece."""

    def __init__(self) -> None:
        self.compared = self.mismatches = 0
        self._earliest: tuple[tuple[int, int, tuple[int, int]], Divergence] | None = None

    def add(
        self,
        of: tuple[str, str],
        place: tuple[int, int],
        sample: int,
        one: npt.NDArray[Any],
        two: npt.NDArray[Any],
        first: int = 0,
    ) -> None:
        """Compare a layer's array of one kind, (steps, neurons[, states]), from step `first` of a sample on.

        `place` is that in the order of layers and kinds.
        """
        differs = one != two
        self.compared += differs.size
        number = int(np.count_nonzero(differs))
        self.mismatches += number
        if number:
            step, neuron, *state = at = tuple(map(int, np.unravel_index(int(np.argmax(differs)), differs.shape)))
            where = neuron, state[0] if state else None
            here = Divergence(sample, *of, *where, step=first + step, expected=int(one[at]), actual=int(two[at]))
            key = (sample, first + step, place)
            if self._earliest is None or key < self._earliest[0]:
                self._earliest = key, here

    def comparison(self, reference: Recording, candidate: Recording) -> Comparison:
        """Return the result; the recordings are those of all samples, with states or without."""
        return Comparison(
            reference=reference.backend,
            candidate=candidate.backend,
            samples=reference.samples,
            steps=reference.steps,
            valid_steps=reference.valid_steps,
            values_compared=self.compared,
            mismatches=self.mismatches,
            first_divergence=self._earliest[1] if self._earliest else None,
        )


def predictions(output: npt.NDArray[Any], rule: str, lengths: IntArray) -> IntArray:
    """Return the class of each sample: the largest readout, ties to the lowest index."""
    return np.asarray(np.argmax(readout_values(output, rule, lengths), 1), np.int64)


def accuracy(output: npt.NDArray[Any], rule: str, lengths: IntArray, labels: IntArray | None) -> float | None:
    """Return the share of the samples whose class is their label; None without labels."""
    found = correct(output, rule, lengths, labels)
    return None if found is None else found / len(output)


def correct(output: npt.NDArray[Any], rule: str, lengths: IntArray, labels: IntArray | None) -> int | None:
    """Return the number of samples whose class is their label; None without labels."""
    return None if labels is None else int(np.count_nonzero(predictions(output, rule, lengths) == labels))


def agree(
    network: Network, floats: FloatRun, quantized: QuantizedNetwork, recording: Recording
) -> dict[str, Agreement]:
    """Return the agreement of the float and the integer run, by layer; both must have been traced."""
    return {name: _agree(name, neuron, floats, quantized, recording) for name, neuron in network.populations.items()}


def _agree(name: str, neuron: Neuron, floats: FloatRun, quantized: QuantizedNetwork, recording: Recording) -> Agreement:
    layer, population = recording.layers[name], quantized.populations[name]
    valid = (np.arange(recording.steps) < recording.lengths[:, None])[..., None]
    same = None
    if layer.spikes is not None:
        sent = np.ldexp(layer.spikes.astype(np.float64), -population.output_frac)
        equal = (floats.spikes[name] == sent) | ~valid
        same = 1.0 - float(np.count_nonzero(~equal)) / float(valid.sum() * population.output_size)
    y = np.where(valid, _flat(floats.membranes[name]), 0.0)
    membrane = population.dequantize_state(neuron.membrane_name, layer.states[neuron.membrane_name])
    integer = np.where(valid, _flat(membrane), 0.0)
    power, error = float(np.sum(y**2)), float(np.sum((y - integer) ** 2))
    return Agreement(same, 10 * float(np.log10(power / error)) if error > 0 and power > 0 else None)


def changed_spikes(one: Recording, other: Recording, windows: Mapping[str, int]) -> tuple[int, int]:
    """Count the spikes that differ between two recordings, and those compared, in the first step of each window."""
    changed = places = 0
    for name, layer in one.layers.items():
        twin = other.layers[name].spikes
        if layer.spikes is None or twin is None:
            continue
        steps = np.arange(one.steps)
        compared = ((steps < one.lengths[:, None]) & (steps % windows[name] == 0))[..., None]
        changed += int(np.count_nonzero((layer.spikes != twin) & compared))
        places += int(compared.sum()) * layer.spikes.shape[2]
    return changed, places


def _flat(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reshape to (samples, steps, product of all other axes)."""
    return values.reshape(*values.shape[:2], -1)
