"""Hardware profiles as text: the list, and every figure of one with its source."""

from __future__ import annotations

from collections.abc import Iterator

from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile, profile_names


def listing() -> Iterator[str]:
    """Yield one line per profile: name, title, the neuron families that it runs."""
    for name in profile_names():
        profile = load_profile(name)
        cores = profile.chip.cores.required_value
        yield f"{name:<10} {profile.title}: runs {', '.join(profile.neurons)}; {cores} cores"


def details(profile: HardwareProfile) -> Iterator[str]:
    """Yield every figure of a profile with its source, table by table."""
    yield f"{profile.title} ({profile.path})"
    table = ""
    for name, key, figure in profile.figures():
        if name != table:
            table = name
            yield f"[{name}]"
        value = "not available" if figure.value is None else f"{figure.value}{' ' + figure.unit if figure.unit else ''}"
        yield f"  {key} = {value}  ({', '.join(part for part in (figure.kind, figure.citation) if part)})"
