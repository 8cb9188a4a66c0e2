"""Intel's LIFReset, its arithmetic unchanged, with a recording of every step."""
# mypy: allow-subclassing-any, allow-untyped-decorators, disable-error-code="import-not-found,import-untyped"

from typing import Any

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset

from nmdeploy.lava.trace import Trace


class TracedLIFReset(LIFReset):
    """Intel's `LIFReset` with a recording of u, v and its spikes.

    Parameters
    ----------
    trace : Trace
        Recording of ``spikes``, ``u`` and ``v``, each (neurons,).
    **kwargs
        Arguments of `lava.proc.lif.process.LIFReset`.
    """

    def __init__(self, *, trace: Trace, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proc_params["trace"] = trace


# Lava's @implements refuses a class whose parent already implements another Process.
class _Untied(PyLifResetModelBitAcc):
    implements_process = None


@implements(proc=TracedLIFReset, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PyTracedLifResetModel(_Untied):
    """Intel's `PyLifResetModelBitAcc`, followed by a copy of its registers."""

    def spiking_activation(self) -> Any:
        """Compare with the threshold as Intel does, and keep the spikes for the recording."""
        self.spikes = super().spiking_activation()
        return self.spikes

    def run_spk(self) -> None:
        """Run Intel's step, then record."""
        super().run_spk()
        self.proc_params["trace"].write(self.time_step, spikes=self.spikes, u=self.u, v=self.v)
