"""The schedule that the reference prescribes for assimilation, written out as it is done there, to be measured against.

Predictor-corrector, 32 noise levels of (2 corrections + 1 prediction). At each of the 96 evaluations, for one member:
the denoiser runs once; every time of the window is decoded by itself, observed or not; two steps of GMRES from zero on
the observations as they are; each product with the covariance differentiates decoder and denoiser once more, and each
product with the derivative runs the decoder again in forward mode. Activations are not kept but computed anew.

The numbers are those of ``MMPS.official()`` in xappa, which the tests check: accuracy is measured with that, cost with
this.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from xappa.diffusion.gmres import gmres
from xappa.diffusion.guidance import MMPS
from xappa.diffusion.samplers import PC

ITERATIONS = 2
SAMPLER = PC(steps=32, corrections=2, delta=0.1)
GUIDANCE = MMPS.official()

Function = Callable[[Tensor], Tensor]


class ReferenceDenoiser:
    """Guided denoiser of one window and one member.

    Parameters
    ----------
    denoiser : callable
        ``denoiser(x_t (1, K, h, w, C), sigma)``.
    decoder : callable
        ``decoder(k, latents (h, w, C)) -> fields`` of time k of the window.
    reading : callable
        Fields (1, K, channel, latitude, longitude) -> observed (1, M).
    y, variance : Tensor, (M,)
    """

    def __init__(
        self,
        denoiser: Callable[[Tensor, Tensor], Tensor],
        decoder: Callable[[int, Tensor], Tensor],
        reading: Function,
        y: Tensor,
        variance: Tensor,
    ) -> None:
        self.denoiser, self.decoder, self.reading, self.y, self.variance = denoiser, decoder, reading, y, variance

    def observed(self, latents: Tensor, keep: bool = True) -> Tensor:
        """What is observed of a window of latents (1, K, h, w, C), decoded one by one."""

        def decode(k: int, z: Tensor) -> Tensor:
            return self.decoder(k, z) if not keep else checkpoint(self.decoder, k, z, use_reentrant=False)

        return self.reading(torch.stack([decode(k, z) for k, z in enumerate(latents[0])])[None])

    def __call__(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """Estimate of x (1, K, h, w, C)."""
        with torch.enable_grad():
            x_t = x_t.detach().requires_grad_()
            x_hat = checkpoint(self.denoiser, x_t, sigma, use_reentrant=False)
            y_hat = self.observed(x_hat)

        def product(u: Tensor) -> Tensor:
            (v,) = torch.autograd.grad(y_hat, x_t, u, retain_graph=True)
            tangent = torch.func.jvp(lambda x: self.observed(x, keep=False), (x_hat.detach(),), (sigma**2 * v,))[1]
            return self.variance * u + tangent

        g = gmres(product, self.y - y_hat.detach(), iterations=ITERATIONS).x
        (shift,) = torch.autograd.grad(y_hat, x_t, g)
        return x_hat.detach() + sigma**2 * shift
