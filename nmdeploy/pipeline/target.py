"""The profile of a chip that a network is quantized for, or a model was."""

from __future__ import annotations

from pathlib import Path

from nmdeploy.errors import BadOption
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile, profile_names
from nmdeploy.network.network import QuantizedNetwork


def profile_of(profile: str | Path | HardwareProfile) -> HardwareProfile:
    """Return the profile of a name or a file, or the profile itself."""
    return profile if isinstance(profile, HardwareProfile) else load_profile(str(profile))


def target_of(network: QuantizedNetwork, profile: str | Path | HardwareProfile | None) -> HardwareProfile:
    """Return the target of a report: the profile that the model was quantized for, unless another one is given."""
    if profile is None and network.profile not in profile_names():
        raise BadOption(
            f"the model was quantized for profile {network.profile!r}, which is not installed: give --profile FILE"
        )
    return profile_of(network.profile if profile is None else profile)
