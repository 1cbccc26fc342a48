"""What `plan` counts for models of official size, without running them: the reference's schedule, and ours.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.full_plan

No parameter is read or written, so that this takes no memory to speak of; a minute of a processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tests.benchmarks.random_models import SIZES, random_model
from xappa.model.dates import to_date_tensor
from xappa.model.model import Model
from xappa.sampling.evaluation_cost import measure_decoding
from xappa.sampling.meter import measure_work

REFERENCE = {"evaluation": 932.6e12, "72 h": 447.6e15, "a week": 1164e15}
"""Operations of the reference's schedule, by arithmetic: 64 latent channels and 16 blocks."""
EVALUATIONS, ITERATIONS = 96, 2
WINDOW, SHARED = 24, 12
STEPS, PROBES = 12, 4
SOLVER, TANGENT, STATIC = 2.8, 9.0, 9.5
"""Steps of the solver an evaluation, as measured on the embedded model: of moment matching with at most 4, of the same
to a tolerance with a tangent, and of the static prior."""
HOURS = {"24 h": 24, "72 h": 72, "a week": 168}


def large_model(channels: int = 64, blocks: int = 16) -> Model:
    """A model of official size whose parameters take no memory, as nobody looks at them."""
    base = SIZES["full"]
    SIZES["large"] = {
        "autoencoder": base["autoencoder"] | {"lat_channels": channels},
        "transformer": base["transformer"] | {"hid_blocks": blocks},
    }
    with torch.device("meta"):
        model = random_model("large")
    model.autoencoder.to_empty(device="cpu")
    model.denoiser.to_empty(device="cpu")
    return model


@dataclass(frozen=True)
class Parts:
    """Operations of the networks.

    Parameters
    ----------
    denoise, denoise_back : float
        The denoiser of a window, and its derivative backwards.
    decode, tangent : float
        One state, by the decoder and by a linear map of 3 x 3 cells that would stand in for its derivative.
    """

    denoise: float
    denoise_back: float
    decode: float
    tangent: float

    @classmethod
    def of(cls, model: Model) -> Parts:
        """Metered."""
        date = to_date_tensor(np.datetime64("2021-03-21", "h") + np.arange(model.spec.window))
        shape = (1, model.spec.window, *model.latent_shape)

        def forward() -> None:
            with torch.no_grad():
                model.denoiser(torch.zeros(shape), torch.ones(()), date)

        def both() -> None:
            x = torch.zeros(shape, requires_grad=True)
            with torch.enable_grad():
                estimate = model.denoiser(x, torch.ones(()), date)
            torch.autograd.grad(estimate, x, torch.ones(shape))

        denoise = measure_work(forward).flop
        height, width, channels = model.latent_shape
        pixels = model.spec.shape[0] * model.autoencoder.spec.resize**2
        tangent = 2.0 * 9 * height * width * channels * pixels
        return cls(denoise, measure_work(both).flop - denoise, measure_decoding(model).flop, tangent)

    def moment_matching(self, windows: float, states: float, iterations: float, start: float = 0.0) -> float:
        """One evaluation of so many windows, of which so many states are decoded.

        Derivatives of the decoder are computed anew for each product: two decodings forwards, two backwards. A warm
        start takes one more product.
        """
        products = iterations + start
        denoiser = self.denoise + (products + 1) * self.denoise_back
        return windows * denoiser + states * self.decode * (1 + 2 * (products + 1) + 2 * products)

    def probing(self, states: float) -> float:
        """The units of reports, once a run: a derivative forwards a probe, two decodings."""
        return 2 * PROBES * states * self.decode

    def with_tangent(self, windows: float, states: float, iterations: float) -> float:
        """Moment matching, warm, where a linear map stands in for the decoder's derivative within the system.

        The decoder is differentiated once a call: its states are decoded for the comparison, and anew for the way back.
        """
        products = iterations + 1
        denoiser = self.denoise + (products + 1) * self.denoise_back
        return windows * denoiser + states * (3 * self.decode + 2 * products * self.tangent)

    def static_prior(self, windows: float, states: float, iterations: float) -> float:
        """The same where neither network is differentiated: states are decoded once, and the tangent stands in."""
        products = 2 * iterations + 3
        return windows * self.denoise + states * (self.decode + products * self.tangent)


def windows_of(hours: int) -> int:
    """Windows of 24 that share 12 and cover so many hours."""
    return 1 + max(0, -(-(hours - WINDOW) // (WINDOW - SHARED)))


def main() -> None:
    """Print the table."""
    for name, size in (("64 channels, 16 blocks", (64, 16)), ("128 channels, 18 blocks", (128, 18))):
        parts = Parts.of(large_model(*size))
        one = parts.moment_matching(1, WINDOW, ITERATIONS)
        print(
            f"{name}: denoiser {parts.denoise / 1e12:.1f} + {parts.denoise_back / 1e12:.1f} TFLOP backwards, ", end=""
        )
        print(f"decoder {parts.decode / 1e12:.2f}; an evaluation as prescribed {one / 1e12:.1f}")
        for span, hours in HOURS.items():
            n = windows_of(hours)
            whole = EVALUATIONS * n * one
            mmps = [(f"moment matching, windows of {WINDOW}", WINDOW * n), ("  each time decoded once", hours)]
            mmps += [("  every second time observed", hours / 2), ("  every sixth time observed", hours / 6)]
            ours = [
                (label, STEPS * parts.moment_matching(n, states, SOLVER, 1) + parts.probing(states))
                for label, states in mmps
            ]
            ours.append(("moment matching, tangent fitted", STEPS * parts.with_tangent(n, WINDOW * n, TANGENT)))
            static = [("prior and tangent fitted, windows", WINDOW * n), ("  each time decoded once", hours)]
            ours += [(label, STEPS * parts.static_prior(n, states, STATIC)) for label, states in static]
            print(f"  {span}: reference {whole / 1e15:.1f} PFLOP")
            for label, value in ours:
                print(f"    {label:34}{value / 1e15:8.1f} PFLOP {whole / value:7.1f} times less")


if __name__ == "__main__":
    main()
