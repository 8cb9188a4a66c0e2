"""Diagonal state-space layer S4D."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nmdeploy.errors import BadOption
from nmdeploy.models.modules.block_scan import BLOCK, block_scan


def complex_expm1(z: Tensor) -> Tensor:
    """Return ``exp(z) - 1`` of complex z = a + ib, exact for small z.

    The formula is ``expm1(a) cos b - 2 sin(b/2)^2 + i exp(a) sin b``.
    """
    a, b = z.real, z.imag
    return torch.complex(torch.expm1(a) * torch.cos(b) - 2 * torch.sin(b / 2) ** 2, torch.exp(a) * torch.sin(b))


class S4D(nn.Module):
    """Single-input single-output state-space models with diagonal complex A, one per channel.

        x_t = A_d x_{t-1} + B_d u_t            A_d = exp(dt A),  B_d = A^-1 (exp(dt A) - I) B,  B = 1
        y_t = 2 Re(C x_t) + D u_t

    A stored complex state represents a conjugate pair, hence the factor 2. x_t includes the input of its own step.
    `outputs` computes blocks of steps by matrix products. A step with the `coefficients` computes the same.

    Parameters
    ----------
    channels, states : int
        Number H of independent systems, and number N of stored complex states of each.
    dt_min, dt_max : float
        Range of the initial step sizes, which are dimensionless, learned, and log-uniform at first.

    Attributes
    ----------
    log_a_real : (H, N)
        ``log(-Re A)``, so that A is always stable. It starts at ``Re A = -1/2`` (S4D-Lin).
    a_imag : (H, N)
        ``Im A``. It starts at ``pi n``.
    log_dt : (H,)
        Logarithm of the step size dt.
    c : (H, N, 2)
        C, as real and imaginary part.
    d : (H,)
        Feedthrough D.

    References
    ----------
    Gu, Goel, Gupta, Re, On the Parameterization and Initialization of Diagonal State Space Models, NeurIPS 2022.
    """

    def __init__(self, channels: int, states: int, *, dt_min: float = 0.01, dt_max: float = 0.2) -> None:
        super().__init__()
        if not dt_min <= dt_max:
            raise BadOption(f"S4D: dt_min = {dt_min!r} exceeds dt_max = {dt_max!r}: swap them")
        self.log_a_real = nn.Parameter(torch.full((channels, states), math.log(0.5)))
        self.a_imag = nn.Parameter(math.pi * torch.arange(states).repeat(channels, 1).to(torch.get_default_dtype()))
        span = math.log(dt_max) - math.log(dt_min)
        self.log_dt = nn.Parameter(torch.rand(channels) * span + math.log(dt_min))
        self.c = nn.Parameter(torch.randn(channels, states, 2) * math.sqrt(0.5))
        self.d = nn.Parameter(torch.randn(channels))

    def discrete(self) -> tuple[Tensor, Tensor]:
        """Return ``A_d`` and ``B_d`` by zero-order hold, each (H, N) complex."""
        z, b = self._exponents()
        return torch.exp(z), b

    def _exponents(self) -> tuple[Tensor, Tensor]:
        a = torch.complex(-torch.exp(self.log_a_real), self.a_imag)
        z = a * torch.exp(self.log_dt)[:, None]
        return z, complex_expm1(z) / a

    def outputs(self, u: Tensor) -> Tensor:
        """Return all outputs at once, u (batch, steps, H) -> y (batch, steps, H)."""
        length = min(BLOCK, u.shape[1])
        return block_scan(u, self.block_matrix(length), length)

    def block_matrix(self, length: int) -> Tensor:
        """Return M of `nmdeploy.models.modules.block_scan`, (H, L + 2 N, L + 2 N); states are Re x, then Im x.

        Its upper left part convolves with ``K_t = 2 Re(sum_n C_n A_d,n^t B_d,n)``, and D in K_0.
        """
        z, b = self._exponents()
        powers = torch.exp(z[..., None] * torch.arange(length + 1, dtype=self.d.dtype, device=self.d.device))
        c = 2 * torch.view_as_complex(self.c)
        kernel = torch.einsum("hn,hnt->ht", c * b, powers[..., :-1]).real
        kernel = torch.cat([kernel[:, :1] + self.d[:, None], kernel[:, 1:]], 1)
        convolves = torch.nn.functional.pad(kernel, (length - 1, 0)).unfold(1, length, 1).flip(1)
        enters, leaves = powers[..., :-1].flip(-1) * b[..., None], powers[..., 1:] * c[..., None]
        re, im = torch.diag_embed(powers[..., -1].real), torch.diag_embed(powers[..., -1].imag)
        rows = (
            (convolves, enters.real.mT, enters.imag.mT),
            (leaves.real, re, im),
            (-leaves.imag, -im, re),
        )
        return torch.cat([torch.cat(row, 2) for row in rows], 1)

    def coefficients(self) -> dict[str, Tensor]:
        """Return A, B, C, D for the step of `nmdeploy.models.modules.mechanisms`.

        The step has states instead of pairs, hence 2 C.
        """
        a, b = self.discrete()
        c = 2 * self.c[:, None]
        return {
            "a_re": a.real,
            "a_im": a.imag,
            "b_re": b.real[..., None],
            "b_im": b.imag[..., None],
            "c_re": c[..., 0],
            "c_im": c[..., 1],
            "d": self.d[:, None, None],
        }
