"""Shares of the bound, from turns that measure the machine's rates before and after `compiled`.

The turn with the middle share decides. Its own rates and its own time are shown, so that they multiply out to the
share. The shares of the other turns show the spread of the measurement.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.bounds import Bound, Rates, Work, bound


@dataclass(frozen=True)
class Turn:
    """The rates of one turn, and the seconds per sample that `compiled` took in it."""

    work: Work
    rates: Rates
    compiled: float

    @property
    def bound(self) -> Bound:
        """Bound that the rates allow."""
        return bound(self.work, self.rates)

    @property
    def in_pairs(self) -> Bound | None:
        """Bound with rows added in pairs, or None if the processor cannot."""
        rates = self.rates
        return bound(self.work, replace(rates, rows=rates.rows_in_pairs)) if rates.rows_in_pairs else None

    @property
    def share(self) -> float:
        """Share of the bound."""
        return self.bound.seconds / self.compiled

    def to_json(self) -> dict[str, Any]:
        """Return the turn as plain values."""
        found, pairs = self.bound, self.in_pairs
        return {
            "seconds": found.seconds,
            "compiled": self.compiled,
            "share": self.share,
            "limited_by": found.limited_by,
            "terms": asdict(found),
            "rates": self.rates.to_json(),
            "in_pairs": pairs
            and {"seconds": pairs.seconds, "rows": pairs.rows, "share": pairs.seconds / self.compiled},
        }


def deciding(turns: Sequence[Turn]) -> Turn:
    """Return the turn with the middle share; of an even number, the lower one of the two."""
    return sorted(turns, key=operator.attrgetter("share"))[(len(turns) - 1) // 2]


def summary(turns: Sequence[Turn]) -> dict[str, Any]:
    """Return the deciding turn, the shares of all, and the work."""
    shares = [turn.share for turn in turns]
    return {**deciding(turns).to_json(), "shares": shares, "work": turns[0].work.to_json()}
