"""Problems whose posterior is known: what the tests of exactness and their published figures share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from xappa.diffusion.composition import TrajectoryDenoiser
from xappa.diffusion.guidance import ErrorCovariance, Guidance, Observation
from xappa.diffusion.samplers import Sampler
from xappa.diffusion.schedule import LogLinear

DOUBLE = torch.float64
SCHEDULE = LogLinear(2e-3, 500.0)


def draws(rows: int, size: int, seed: int) -> Callable[[int], Tensor]:
    """Noise of a sampler: (rows, size) for every draw."""
    return lambda k: torch.randn(rows, size, generator=torch.Generator().manual_seed(1000 * seed + k), dtype=DOUBLE)


def run(sampler: Sampler, denoise: Callable, noise: Callable[[int], Tensor], schedule=SCHEDULE) -> Tensor:
    """Samples, from a start made of draw 0."""
    start = schedule(torch.ones(1)).item() * noise(0)
    return sampler(denoise, start, lambda k: noise(k + 1), schedule)


@dataclass
class Linear:
    """x ~ N(0, P), y = H x + e, e ~ N(0, R).

    Parameters
    ----------
    p : Tensor (d, d)
    h : Tensor (M, d)
    r : Tensor (M,) or ErrorCovariance
    y : Tensor (M,)
    """

    p: Tensor
    h: Tensor
    r: Tensor | ErrorCovariance
    y: Tensor

    def __post_init__(self) -> None:
        self.variances, self.vectors = torch.linalg.eigh(self.p)
        self.unit = torch.eye(len(self.p), dtype=DOUBLE)

    def denoise(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """E[x | x_t]."""
        return x_t @ (self.vectors * (self.variances / (self.variances + sigma**2))) @ self.vectors.mT

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Cov[x | x_t] v."""
        return sigma**2 * self.denoise(v, sigma)

    def observation(self, rows: int = 1) -> Observation:
        """The observations, and errors to perturb them with for so many members."""
        return Observation(self.y, lambda x: x @ self.h.mT, self.r, noise=draws(rows, len(self.y), 77))

    @property
    def errors(self) -> Tensor:
        """R (M, M)."""
        if isinstance(self.r, ErrorCovariance):
            return self.r @ torch.eye(len(self.y), dtype=DOUBLE)
        return torch.diag(self.r)

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and covariance (d, d)."""
        gain = torch.linalg.solve(self.h @ self.p @ self.h.mT + self.errors, self.h @ self.p).mT
        return gain @ self.y, self.p - gain @ self.h @ self.p

    def exactly(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """E[x | x_t, y]."""
        c = self.covariance(self.unit, sigma)
        gain = torch.linalg.solve(self.h @ c @ self.h.mT + self.errors, self.h @ c)
        x_hat = self.denoise(x_t, sigma)
        return x_hat + (self.y - x_hat @ self.h.mT) @ gain

    def guided(self, guidance: Guidance, rows: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
        """Denoiser that knows of the observations."""
        return guidance.guide(self.denoise, self.observation(rows), self.covariance)


def moments(found: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean in standard errors, and variance over the exact one, of samples (n, d), along axes that have 0 and 1."""
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (found - mean).mT, upper=False).mT
    return white.mean(0) * len(found) ** 0.5, white.var(0)


@dataclass
class Flow:
    """Mean and covariance that a deterministic sampler gives where its denoiser is affine, without sampling error."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, sampler: Sampler, denoise: Callable, size: int, schedule=SCHEDULE) -> Flow:
        """The flow maps 0 to the mean, and unit vectors to that and a factor of the covariance."""
        unit = torch.eye(size, dtype=DOUBLE)
        rows = torch.cat([torch.zeros(1, size, dtype=DOUBLE), unit])
        found = run(sampler, denoise, lambda k: rows, schedule)
        factor = found[1:] - found[0]
        return cls(found[0], factor.mT @ factor)

    def against(self, mean: Tensor, covariance: Tensor, where: Tensor | slice = slice(None)) -> tuple[float, float]:
        """RMS error of the mean in posterior deviations, and mean ratio of variances."""
        variance = covariance.diagonal()
        error = ((self.mean - mean) ** 2 / variance)[where].mean().sqrt()
        return float(error), float((self.covariance.diagonal() / variance)[where].mean())


@dataclass
class Process:
    """A damped rotation: x_k = F x_{k-1} + N(0, Q), two variables of unit variance, of which the first is observed.

    Parameters
    ----------
    times : int
    memory : float
        Times after which correlation has fallen to 1/e.
    period : float
        Times of a full turn.
    seen : sequence of int
        Times of the observations.
    error : float
        Their variance.
    window, overlap : int
        What the denoiser sees at once.
    """

    times: int = 36
    memory: float = 3.0
    period: float = 12.0
    seen: tuple[int, ...] = tuple(range(0, 36, 3))
    error: float = 0.1
    window: int = 12
    overlap: int = 6
    seed: int = 0
    f: Tensor = field(init=False)

    def __post_init__(self) -> None:
        angle = torch.tensor(2 * torch.pi / self.period, dtype=DOUBLE)
        turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
        self.f = float(torch.tensor(-1 / self.memory).exp()) * turn
        self.q = torch.eye(2, dtype=DOUBLE) - self.f @ self.f.mT
        draw = torch.Generator().manual_seed(self.seed)
        truth = torch.linalg.cholesky(self.joint(self.times)) @ torch.randn(
            2 * self.times, generator=draw, dtype=DOUBLE
        )
        at = torch.tensor(self.seen, dtype=torch.int64)
        self.y = truth.view(-1, 2)[at, 0] + self.error**0.5 * torch.randn(len(at), generator=draw, dtype=DOUBLE)

    def joint(self, times: int) -> Tensor:
        """Covariance (2 T, 2 T) of so many times: F^|i - j|."""
        powers = [torch.eye(2, dtype=DOUBLE)]
        for _ in range(times - 1):
            powers.append(self.f @ powers[-1])
        rows = [
            torch.cat([powers[i - j] if i >= j else powers[j - i].mT for j in range(times)], 1) for i in range(times)
        ]
        return torch.cat(rows)

    def kalman(self) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
        """Mean and covariance of every time given the observations up to it, and given all (Rauch, Tung, Striebel)."""
        h = torch.tensor([[1.0, 0.0]], dtype=DOUBLE)
        values = dict(zip(self.seen, self.y, strict=True))
        mean, covariance = torch.zeros(2, dtype=DOUBLE), torch.eye(2, dtype=DOUBLE)
        filtered, predicted = [], []
        for k in range(self.times):
            if k:
                mean, covariance = self.f @ mean, self.f @ covariance @ self.f.mT + self.q
            predicted.append((mean, covariance))
            if k in values:
                gain = covariance @ h.mT / (h @ covariance @ h.mT + self.error)
                mean = mean + gain[:, 0] * (values[k] - (h @ mean)[0])
                covariance = covariance - gain @ h @ covariance
            filtered.append((mean, covariance))
        smoothed = [filtered[-1]]
        for k in reversed(range(self.times - 1)):
            gain = filtered[k][1] @ self.f.mT @ torch.linalg.inv(predicted[k + 1][1])
            after, spread = smoothed[0]
            mean = filtered[k][0] + gain @ (after - predicted[k + 1][0])
            smoothed.insert(0, (mean, filtered[k][1] + gain @ (spread - predicted[k + 1][1]) @ gain.mT))
        return filtered, smoothed

    def observed(self, start: int, length: int) -> Linear:
        """The stretch of so many times from `start` on, by itself, with what is observed in it."""
        inside = [i for i, k in enumerate(self.seen) if start <= k < start + length]
        h = torch.zeros(len(inside), 2 * length, dtype=DOUBLE)
        for row, i in enumerate(inside):
            h[row, 2 * (self.seen[i] - start)] = 1
        return Linear(self.joint(length), h, torch.full((len(inside),), self.error, dtype=DOUBLE), self.y[inside])

    def denoiser(self, guidance: Guidance, stitching: str) -> Callable[[Tensor, Tensor], Tensor]:
        """Composition of guided windows, or guided composition of windows, on trajectories (B, 2 T)."""
        starts = range(0, self.times - self.window + 1, self.window - self.overlap)
        problems = [self.observed(start, self.window) for start in starts]

        def composed(parts: list[Callable]) -> Callable[[Tensor, Tensor], Tensor]:
            whole = TrajectoryDenoiser([_unflattened(part) for part in parts], self.window, self.overlap, stitching)
            return lambda x_t, sigma: whole(x_t.view(len(x_t), self.times, 2), sigma).flatten(1)

        if guidance.scope == "window":
            return composed([problem.guided(guidance) for problem in problems])
        prior, covariance = (composed([getattr(p, name) for p in problems]) for name in ("denoise", "covariance"))
        return guidance.guide(prior, self.observed(0, self.times).observation(), covariance)


def _unflattened(denoise: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Denoiser of (B, K, 2), from that of (B, 2 K)."""
    return lambda x_t, sigma: denoise(x_t.flatten(1), sigma).view_as(x_t)


@dataclass
class Mixture:
    """x ~ sum of w_i N(m_i, c_i I), y = x + N(0, r) in the first M of the numbers.

    Parameters
    ----------
    weights, variances : Tensor (n,)
    means : Tensor (n, d)
    error : Tensor (M,)
    """

    weights: Tensor
    means: Tensor
    variances: Tensor
    error: Tensor

    def draw(self, rows: int, seed: int) -> tuple[Tensor, Tensor]:
        """Truths (rows, d) and their observations (rows, M)."""
        draw = torch.Generator().manual_seed(seed)
        which = torch.multinomial(self.weights, rows, replacement=True, generator=draw)
        seen, size = len(self.error), self.means.shape[1]
        noise = torch.randn(rows, size + seen, generator=draw, dtype=DOUBLE)
        x = self.means[which] + self.variances[which, None].sqrt() * noise[:, seen:]
        return x, x[:, :seen] + self.error.sqrt() * noise[:, :seen]

    def denoise(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """E[x | x_t]."""
        spread = self.variances + sigma**2
        gap = x_t[:, None] - self.means
        log = self.weights.log() - (gap**2).sum(-1) / (2 * spread) - self.means.shape[1] / 2 * spread.log()
        inner = self.means + (self.variances / spread)[:, None] * gap
        return (torch.softmax(log, -1)[..., None] * inner).sum(1)

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Cov[x | x_t] v for the Gaussian of the mixture's moments, as a static prior knows it."""
        middle = self.weights @ self.means
        gap = self.means - middle
        p = (gap.mT * self.weights) @ gap + (self.weights @ self.variances) * torch.eye(len(middle), dtype=DOUBLE)
        return sigma**2 * v @ torch.linalg.solve(p + sigma**2 * torch.eye(len(p), dtype=DOUBLE), p)

    def exactly(self, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """E[x | x_t, y]: the posterior of a mixture is one, with weights, means and variances of its own."""
        seen, c, r = len(self.error), self.variances[:, None], self.error
        gap = y[:, None] - self.means[:, :seen]
        log = self.weights.log() - (gap**2 / (c + r) + (c + r).log()).sum(-1) / 2
        means = self.means.expand(len(y), -1, -1).clone()
        means[..., :seen] += c / (c + r) * gap
        narrow = c.expand_as(self.means).clone()
        narrow[:, :seen] = c * r / (c + r)

        def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
            spread = narrow + sigma**2
            gap = x_t[:, None] - means
            weight = torch.softmax(log - (gap**2 / (2 * spread)).sum(-1) - spread.log().sum(-1) / 2, -1)
            return (weight[..., None] * (means + narrow / spread * gap)).sum(1)

        return denoise

    def guided(self, guidance: Guidance | None, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Denoiser that knows of observations (B, M); None is the exact one."""
        if guidance is None:
            return self.exactly(y)
        seen = len(self.error)
        observation = Observation(y, lambda x: x[:, :seen], self.error, noise=draws(len(y), seen, 78))
        return guidance.guide(self.denoise, observation, self.covariance)


MIXTURE = Mixture(
    torch.tensor([0.5, 0.3, 0.2], dtype=DOUBLE),
    torch.tensor([[-1.0, -0.8, 0.6, 0.3], [0.8, 0.9, -0.5, -1.0], [1.3, -1.0, -0.7, 0.9]], dtype=DOUBLE),
    torch.tensor([0.15, 0.1, 0.05], dtype=DOUBLE),
    torch.tensor([0.005, 0.05, 0.5], dtype=DOUBLE),
)
"""Of four numbers, three are observed, with deviations of 0.07, 0.22 and 0.7."""


def ranks(guidance: Guidance | None, sampler: Sampler, trials: int, members: int, seed: int = 1) -> Tensor:
    """Counts (d, members + 1) of the truth's rank among posterior samples, over trials of truth and observation."""
    truth, y = MIXTURE.draw(trials, seed)
    denoise = MIXTURE.guided(guidance, y.repeat_interleave(members, 0))
    found = run(sampler, denoise, draws(trials * members, truth.shape[1], seed + 1)).view(trials, members, -1)
    rank = (found < truth[:, None]).sum(1)
    return torch.stack([torch.bincount(r, minlength=members + 1) for r in rank.unbind(1)])


def chi_square(counts: Tensor) -> tuple[float, float]:
    """Of the worst of the histograms: the statistic, and the mean difference from a uniform one, relative to that."""
    expected = counts.sum(1, keepdim=True) / counts.shape[1]
    statistic = ((counts - expected) ** 2 / expected).sum(1)
    return float(statistic.max()), float(((counts - expected).abs() / expected).mean(1).max())


@dataclass
class Curved:
    """x ~ N(m, c I) in a few dimensions, y = h(x) + N(0, r), h not linear; the posterior by importance sampling."""

    mean: Tensor
    variance: float
    function: Callable[[Tensor], Tensor]
    y: float
    error: float

    def denoise(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """E[x | x_t]."""
        return (self.variance * x_t + sigma**2 * self.mean) / (self.variance + sigma**2)

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Cov[x | x_t] v."""
        return sigma**2 * self.variance / (self.variance + sigma**2) * v

    def weighted(self, rows: int = 200_000) -> tuple[Tensor, Tensor]:
        """Samples of the prior (rows, d), and their weights given y."""
        noise = torch.randn(rows, len(self.mean), generator=torch.Generator().manual_seed(9), dtype=DOUBLE)
        x = self.mean + self.variance**0.5 * noise
        return x, torch.softmax(-((self.y - self.function(x)) ** 2) / (2 * self.error), 0)

    def exactly(self, nodes: int = 20) -> Callable[[Tensor, Tensor], Tensor]:
        """E[x | x_t, y] by Gauss-Hermite quadrature of p(x | x_t)."""
        points, weights = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(nodes))
        grid = torch.cartesian_prod(*[points] * len(self.mean)).view(-1, len(self.mean))
        log = torch.cartesian_prod(*[weights.log()] * len(self.mean)).view(-1, len(self.mean)).sum(-1)

        def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
            spread = (sigma**2 * self.variance / (self.variance + sigma**2)).sqrt()
            x = self.denoise(x_t, sigma)[:, None] + spread * grid
            weight = torch.softmax(log - (self.y - self.function(x)) ** 2 / (2 * self.error), -1)
            return (weight[..., None] * x).sum(1)

        return denoise

    def guided(self, guidance: Guidance | None, rows: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
        """Denoiser that knows of y, for so many members; None is the exact one."""
        if guidance is None:
            return self.exactly()
        one = torch.ones(1, dtype=DOUBLE)
        observation = Observation(
            self.y * one, lambda x: self.function(x)[:, None], self.error * one, noise=draws(rows, 1, 79)
        )
        return guidance.guide(self.denoise, observation, self.covariance)

    def against(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Error of the mean in posterior deviations, and ratio of variances: of h(x), and of each number."""
        x, weight = self.weighted()
        seen, sampled = (torch.cat([self.function(z)[:, None], z], 1) for z in (x, found))
        mean = weight @ seen
        variance = weight @ (seen - mean) ** 2
        return (sampled.mean(0) - mean) / variance.sqrt(), sampled.var(0) / variance


def _pair(u: float, v: float) -> Tensor:
    return torch.tensor([u, v], dtype=DOUBLE)


CURVED = {
    "wind speed": Curved(_pair(1.5, 1.0), 1.0, lambda x: x.norm(dim=-1), 3.0, 0.1),
    "logarithm": Curved(_pair(3.0, 2.5), 0.5, lambda x: x.clamp(min=1e-3).prod(-1).log(), 2.6, 0.02),
    "ratio": Curved(_pair(1.0, 3.0), 0.3, lambda x: x[..., 0] / x[..., 1], 0.6, 0.01),
}
"""Observations that are no linear functions of the state."""
