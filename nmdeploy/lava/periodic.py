"""What the Processes of this folder share: the periodic reset that lets samples follow each other in one run."""

from typing import Any

ENDLESS_STEPS = 2**31 - 1


def check_reset(interval: int, offset: int) -> None:
    """Refuse a reset interval below 1 and a negative offset.

    Raises
    ------
    ValueError
        Names the parameter and its limit.
    """
    if interval < 1:
        raise ValueError(f"reset_interval is {interval}; it must be 1 or more")
    if offset < 0:
        raise ValueError(f"reset_offset is {offset}; it must be 0 or more")


def check_state_bits(bits: int) -> None:
    """Refuse registers that Lava's 32-bit Ports, Vars and Monitors would cut silently.

    Raises
    ------
    ValueError
        Names the width and the limit.
    """
    if not 2 <= bits <= 32:
        raise ValueError(f"state_bits is {bits}; Lava holds 2 to 32 bits: export with 32 or fewer")


def own_step(time_step: int, params: Any) -> int:
    """Step of the current sample: 0 where registers are zeroed, with the convention of Intel's LIFReset.

    Parameters
    ----------
    time_step : int
        Lava's time step, which counts from 1.
    params : ProcessParameters
        Holds ``reset_interval`` and ``reset_offset``: step 0 is where ``time_step % interval == offset % interval``.
    """
    step: int = (time_step - params["reset_offset"]) % params["reset_interval"]
    return step
