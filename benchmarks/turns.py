"""Shares of the bound, from turns: in each, the machine's rates are measured before and after `compiled`.

One turn decides: the one with the middle share. Its own rates and its own time are shown, so that they multiply out to
the share; the shares of the other turns say how far the measurement spreads.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.bounds import Bound, Rates, Work, bound


@dataclass(frozen=True)
class Turn:
    """The rates of one turn, and the seconds a sample that `compiled` took in it."""

    work: Work
    rates: Rates
    compiled: float

    @property
    def bound(self) -> Bound:
        """What the rates allow."""
        return bound(self.work, self.rates)

    @property
    def in_pairs(self) -> Bound | None:
        """What they allow if rows are added in pairs, where the processor can."""
        rates = self.rates
        return bound(self.work, replace(rates, rows=rates.rows_in_pairs)) if rates.rows_in_pairs else None

    @property
    def share(self) -> float:
        """Of the bound."""
        return self.bound.seconds / self.compiled

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
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
    """The turn with the middle share; of an even number, the lower one of the two."""
    return sorted(turns, key=operator.attrgetter("share"))[(len(turns) - 1) // 2]


def summary(turns: Sequence[Turn]) -> dict[str, Any]:
    """The deciding turn, the shares of all, and the work."""
    shares = [turn.share for turn in turns]
    return {**deciding(turns).to_json(), "shares": shares, "work": turns[0].work.to_json()}
