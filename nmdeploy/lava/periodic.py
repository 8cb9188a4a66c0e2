"""Periodic reset that lets samples follow each other in one run, and the checks of its parameters."""

from typing import Any

ENDLESS_STEPS = 2**31 - 1


def check_reset(interval: int, offset: int) -> None:
    """Refuse a reset interval below 1 and a negative offset.

    Raises
    ------
    ValueError
        A parameter exceeds its limit; the message names both.
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
        The width is not 2 to 32.
    """
    if not 2 <= bits <= 32:
        raise ValueError(f"state_bits is {bits}; Lava holds 2 to 32 bits: export with 32 or fewer")


def own_step(time_step: int, params: Any) -> int:
    """Return the step of the current sample, in the convention of Intel's LIFReset.

    Registers are zeroed before step 0.

    Parameters
    ----------
    time_step : int
        Lava's time step, which counts from 1.
    params : ProcessParameters
        Parameters with ``reset_interval`` and ``reset_offset``. Step 0 is the step with
        ``time_step % interval == offset % interval``.
    """
    step: int = (time_step - params["reset_offset"]) % params["reset_interval"]
    return step
