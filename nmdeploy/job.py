"""Job: the digests and options from which a result was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Job:
    """Inputs from which a result was made; the same job gives the same result.

    Parameters
    ----------
    network : str
        SHA-256 of the network: of the content of a float network, of the integers of a model file.
    profile : str
        SHA-256 of the hardware profile's content; empty without a profile.
    data : str
        SHA-256 of the samples (`nmdeploy.samples.digest`); empty without samples.
    options : tuple of (name, value)
        Options that differ from their default, by name.

    Examples
    --------
    >>> Job("ab", "cd", options={"weight_bits": 4}).id == Job("ab", "cd", options=(("weight_bits", 4),)).id
    True
    """

    network: str
    profile: str = ""
    data: str = ""
    options: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        pairs = self.options.items() if isinstance(self.options, Mapping) else self.options
        object.__setattr__(self, "options", tuple(sorted((str(name), value) for name, value in pairs)))

    @property
    def id(self) -> str:
        """Name of the job: the first 16 hex digits of the SHA-256 of its content."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()[:16]

    def _content(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "profile": self.profile,
            "data": self.data,
            "options": dict(self.options),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the job's fields and its id as JSON values."""
        return {"id": self.id, **self._content()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Job:
        """Return the job that `to_json` described; `ValueError` if the id belongs to another one."""
        given = {key: value for key, value in values.items() if key != "id"}
        job = cls(**given)
        if values.get("id", job.id) != job.id:
            raise ValueError(f"the id of the job is {values['id']}, its content has {job.id}")
        return job
