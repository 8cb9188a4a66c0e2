"""What the Processes of this folder share: the periodic reset that lets samples follow each other in one run."""

from typing import Any

NEVER = 2**31 - 1


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


def check_state_bits(name: str | None, bits: int) -> None:
    """Refuse registers that Lava's 32-bit Ports, Vars and Monitors would cut silently.

    Raises
    ------
    ValueError
        Names the Process, its width and the limit.
    """
    if not 2 <= bits <= 32:
        raise ValueError(f"{name or 'process'}: state_bits is {bits}; Lava holds 2 to 32 bits: export with 32 or fewer")


def resets_now(time_step: int, params: Any) -> bool:
    """Whether `time_step` opens a new period, with the convention of Intel's LIFReset.

    Parameters
    ----------
    time_step : int
        Lava's time step, which counts from 1.
    params : ProcessParameters
        Holds ``reset_interval`` and ``reset_offset``.
    """
    interval: int = params["reset_interval"]
    offset: int = params["reset_offset"]
    return time_step % interval == offset % interval
