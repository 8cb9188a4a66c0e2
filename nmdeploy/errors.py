"""The exceptions of nmdeploy, one small tree.

    NmdeployError                 every error that a user can cause and fix; the command line exits with 2
      BadFile                     a file is missing, damaged, or not of the kind that was asked for
      BadData                     input data that the model cannot take
      BadOption                   a value outside of what an option allows
        CalibrationNeeded         an export needs calibration samples
      UnsupportedParameter        a node holds a value that has no deployed meaning
      ImportDiffers               a module computes something else than its import; the command line exits with 1
      DoesNotFit                  the network exceeds a limit of the hardware profile
      OverflowPossible            a register could leave the width that the arithmetic proves
      LavaUnavailable             Lava cannot be run here
      LavaFailed                  Lava ran and failed

Each message names the object, the number, the limit and the remedy, in one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


class NmdeployError(Exception):
    """Base of every error that a user can cause and fix; `exit_code` is that of the command line."""

    exit_code = 2


class BadFile(NmdeployError):
    """A file that is missing, damaged, or not of the kind that was asked for."""


class BadData(NmdeployError):
    """Input data that the model cannot take."""


class BadOption(NmdeployError):
    """A value outside of what an option allows."""


class CalibrationNeeded(BadOption):
    """An export that needs calibration samples: the weights alone give its scales no bound, or one that is too wide."""


class UnsupportedParameter(NmdeployError):
    """A node with a value that has no deployed meaning."""


class ImportDiffers(NmdeployError):
    """A network that computes something else than the source that it was read from."""

    exit_code = 1


class DoesNotFit(NmdeployError):
    """A network that exceeds a limit of the hardware profile."""


class OverflowPossible(NmdeployError):
    """A register that could leave the width that the arithmetic proves."""


class LavaUnavailable(NmdeployError):
    """A missing or unusable Lava."""


class LavaFailed(NmdeployError):
    """A run of Lava that failed.

    Attributes
    ----------
    traceback : str
        The worker's whole traceback.
    """

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


@contextmanager
def prefix_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the file's name before what is wrong in it, once."""
    try:
        yield
    except NmdeployError as error:
        raise type(error)(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
