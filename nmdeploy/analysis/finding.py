"""A finding of a diagnosis: one population, one fault, and its cause in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

ROW_SCALED = "row scaled"
ROW_ROUNDED_TO_0 = "row rounded to 0"
SIGN_FLIPPED = "sign flipped"
WEIGHTS_OFF = "weights off"
OUT_OF_REACH = "threshold out of reach"
THRESHOLD_OFF = "threshold off"
TAU_UNDER_DT = "time constant under dt"
DECAY_OFF = "decay off"
BIAS_OFF = "bias off"
COEFFICIENT_OFF = "coefficient off"
AT_LIMIT = "states at their limit"
STATES_ROUNDED = "states rounded"
SILENT = "silent"
ALWAYS_SPIKES = "always spikes"

CHANGED = "changed"
"""The integers are not those that rounding the source gives."""
NETWORK = "network"
"""The network's own numbers: rounding has no part in it."""
ROUNDING = "rounding"
"""The source's number does not survive rounding."""
RUN = "run"
"""The run alone shows it."""
ORIGINS = (CHANGED, NETWORK, ROUNDING, RUN)
LISTED = 5


@dataclass(frozen=True)
class Finding:
    """One fault of one population.

    Parameters
    ----------
    population : str
    fault : str
        One of the faults that docs/guides/diagnose.md lists.
    tensor : str
        Name of the tensor, such as "v_threshold" or "hidden.synapse weight".
    neurons : tuple of int
        Neurons that have it.
    text : str
        Fault and cause in words.
    origin : {"changed", "network", "rounding", "run"}
        The integers differ from the source by more than rounding, the network's own numbers, rounding, or the run.
    factor : float or None
        Ratio of the number to that of the source, of its siblings, or of what can be reached.
    spikes : int or None
        Spikes that differ from the float network, and no longer do so once this tensor is restored.
    """

    population: str
    fault: str
    tensor: str
    neurons: tuple[int, ...]
    text: str
    origin: str
    factor: float | None = None
    spikes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        finite = self.factor is not None and math.isfinite(self.factor)
        return asdict(self) | {"neurons": list(self.neurons), "factor": self.factor if finite else None}


def which(neurons: Sequence[int], size: int) -> str:
    """Return the neurons in words.

    >>> which([3], 8), which([1, 4], 8), which(range(8), 8)
    ('neuron 3', 'neurons 1, 4', 'all 8 neurons')
    """
    if len(neurons) == size and size > 1:
        return f"all {size} neurons"
    listed = ", ".join(str(int(neuron)) for neuron in neurons[:LISTED])
    more = f" and {len(neurons) - LISTED} more of {size}" if len(neurons) > LISTED else ""
    return f"neuron{'s' if len(neurons) > 1 else ''} {listed}{more}"


def times(factor: float) -> str:
    """Return a ratio in words.

    >>> times(8.0), times(0.125), times(0.0)
    ('8 times', '1/8 of', '0 times')
    """
    return f"1/{1 / factor:.3g} of" if 0 < factor < 1 else f"{factor:.3g} times"
