"""A Gaussian prior on windows of latents, in closed form, and the denoiser that a network corrects.

For x ~ N(0, P) and x_t = x + sigma eps, the posterior mean and covariance of x are

    E[x | x_t] = P (P + sigma^2)^-1 x_t,        Cov[x | x_t] = sigma^2 P (P + sigma^2)^-1.

P is taken homogeneous in longitude and stationary in time. Then it falls apart by zonal wavenumber m. For each m,
patterns over (latitude, channel) are the eigenvectors of their covariance; the leading ones share a joint covariance
over (time, pattern), so that waves travel and grow together; each of the others has a covariance in time of its own;
what no pattern holds is white in (latitude, channel), with one covariance in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

Spectral = Callable[[Tensor], Tensor]


class GaussianPrior(nn.Module):
    """Gaussian prior on windows (B, K, h, w, C) of standardised latents.

    Parameters
    ----------
    window : int
        Times K.
    shape : tuple of int
        Latent (h, w, C).
    patterns, joint : int
        Patterns R a wavenumber, and the number J of leading ones with a joint covariance.

    Notes
    -----
    Buffers hold complex numbers as pairs of reals; M = w // 2 + 1 wavenumbers, N = h C:
    ``patterns`` (M, N, R, 2); ``joint_vectors`` (M, J K, J K, 2), ``joint_variances`` (M, J K);
    ``single_vectors`` (M, R - J, K, K, 2), ``single_variances`` (M, R - J, K);
    ``rest_vectors`` (M, 1, K, K, 2), ``rest_variances`` (M, 1, K).
    """

    def __init__(self, window: int, shape: tuple[int, int, int], patterns: int, joint: int) -> None:
        super().__init__()
        h, w, c = shape
        self.window, self.shape, self.joint = window, shape, joint
        m, n, k, single = w // 2 + 1, h * c, window, patterns - joint
        sizes = {
            "patterns": (m, n, patterns, 2),
            "joint_vectors": (m, joint * k, joint * k, 2),
            "joint_variances": (m, joint * k),
            "single_vectors": (m, single, k, k, 2),
            "single_variances": (m, single, k),
            "rest_vectors": (m, 1, k, k, 2),
            "rest_variances": (m, 1, k),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size))

    patterns: Tensor
    joint_vectors: Tensor
    joint_variances: Tensor
    single_vectors: Tensor
    single_variances: Tensor
    rest_vectors: Tensor
    rest_variances: Tensor

    def apply_function(self, x: Tensor, function: Spectral) -> Tensor:
        """f(P) x, with f acting on eigenvalues.

        Parameters
        ----------
        x : Tensor (B, K, h, w, C)
        function : callable
            Maps eigenvalues (..., 1) to factors that broadcast to (..., B): one a batch entry where sigma differs.
        """
        batch, k, (h, w, c) = x.shape[0], self.window, self.shape
        patterns = torch.view_as_complex(self.patterns)
        waves = torch.fft.rfft(x, dim=3, norm="ortho").permute(3, 0, 1, 2, 4).reshape(-1, batch * k, h * c)
        amplitude = (waves.conj() @ patterns).conj().unflatten(1, (batch, k))  # patterns are larger: no copy of them
        leading = self._apply_joint(amplitude[..., : self.joint], function)
        single = _filter_in_time(amplitude[..., self.joint :], self.single_vectors, self.single_variances, function)

        def rest(x: Tensor) -> Tensor:
            return _filter_in_time(x, self.rest_vectors, self.rest_variances, function)

        # What no pattern holds is the waves less their patterns; taken in time, both before the patterns are put back.
        change = torch.cat([leading, single], -1) - rest(amplitude)
        waves = rest(waves.unflatten(1, (batch, k))).flatten(1, 2) + change.flatten(1, 2) @ patterns.mT
        waves = waves.reshape(-1, batch, k, h, c).permute(1, 2, 3, 0, 4)
        return torch.fft.irfft(waves, n=w, dim=3, norm="ortho")

    def _apply_joint(self, amplitude: Tensor, function: Spectral) -> Tensor:
        """The leading patterns: amplitude (M, B, K, J), eigenvectors over (K J)."""
        vectors = torch.view_as_complex(self.joint_vectors)
        inner = (amplitude.flatten(2).conj() @ vectors).conj()
        inner = inner * function(self.joint_variances[..., None]).mT
        return (inner @ vectors.mT).view_as(amplitude)

    def denoise(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """E[x | x_t]: x_t (B, K, h, w, C), sigma () or (B,)."""
        variance = sigma.reshape(-1) ** 2
        return self.apply_function(x_t, lambda p: p / (p + variance))

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Cov[x | x_t] v, which doesn't depend on x_t: v (B, K, h, w, C), sigma () or (B,)."""
        variance = sigma.reshape(-1) ** 2
        return self.apply_function(v, lambda p: variance * p / (p + variance))

    def compute_covariance(self, functionals: Tensor) -> Tensor:
        """Covariance (M, M), in the prior, of linear functionals (M, h, w, C) of the state at one time.

        The prior is stationary: the covariance at one time is the mean of those at all.
        """
        width, joint = self.shape[1], self.joint
        waves = torch.fft.rfft(functionals, dim=2, norm="ortho").permute(2, 0, 1, 3).flatten(2).contiguous()
        amplitude = self._compute_amplitudes(functionals, waves)
        rest = self.rest_variances.mean(-1, keepdim=True)
        vectors = torch.view_as_complex(self.joint_vectors) * self.joint_variances.clamp(min=0).sqrt()[:, None]
        leading = (first := amplitude[..., :joint]) @ vectors.unflatten(1, (-1, joint)).transpose(1, 2).flatten(
            2
        ).conj()
        single = amplitude[..., joint:] * (self.single_variances.mean(-1)[:, None] - rest)
        found = rest * (_multiply_adjoint(waves, waves) - _multiply_adjoint(first, first)) + _multiply_adjoint(
            single, amplitude[..., joint:]
        )
        found += _multiply_adjoint(leading, leading) / self.window
        signs = torch.full((len(waves), 1, 1), 2.0).to(found)  # zonal waves travel either way, but for the mean
        signs[[0, -1] if width % 2 == 0 else 0] = 1
        return (signs * found).sum(0)

    def _compute_amplitudes(self, functionals: Tensor, waves: Tensor) -> Tensor:
        """Amplitudes of the patterns (M, B, R), from the rows that are used; conjugated, as patterns are large."""
        patterns = torch.view_as_complex(self.patterns).unflatten(1, self.shape[::2])
        rows = waves.conj().unflatten(2, self.shape[::2])
        out = torch.zeros(*waves.shape[:2], patterns.shape[-1]).to(waves)
        for row, used in enumerate(functionals.abs().amax((2, 3)).T > 0):
            out[:, used] += rows[:, used, row] @ patterns[:, row]
        return out.conj()

    def sample(self, noise: Tensor) -> Tensor:
        """P^(1/2) noise: a sample of the prior, for standard normal noise (B, K, h, w, C)."""
        return self.apply_function(noise, torch.sqrt)


def _multiply_adjoint(a: Tensor, b: Tensor) -> Tensor:
    """Real part of a b^H: (..., M, N) and (..., M, N)."""
    parts = [torch.view_as_real(x.resolve_conj()).flatten(-2) for x in ((a,) if a is b else (a, b))]
    return parts[0] @ parts[-1].mT


def _filter_in_time(amplitude: Tensor, vectors: Tensor, variances: Tensor, function: Spectral) -> Tensor:
    """Patterns each by itself: amplitude (M, B, K, R), eigenvectors (M, R or 1, K, K), eigenvalues (M, R or 1, K)."""
    basis = torch.view_as_complex(vectors)
    series = amplitude.permute(0, 3, 1, 2)
    inner = series @ basis.conj()
    inner = inner * function(variances[..., None]).mT
    return (inner @ basis.mT).permute(0, 2, 3, 1)


class GaussianDenoiser(nn.Module):
    """D(x_t) = D_l(x_t) + c F(x_t / sqrt(sigma^2 + 1), D_l(x_t), ln sigma, date) + c T(D_g(x_t), ln sigma, date).

    D_l = D_g + c L(D_g, ln sigma, date): the Gaussian's posterior mean D_g with linear corrections L;
    c = sigma / (2 sqrt(sigma^2 + 1)). The network F learns what these leave, and the linear corrections T are fitted to
    what is left then. Corrections are all of one kind; L are those that the network sees, and T are the others.

    Parameters
    ----------
    prior : GaussianPrior
    residual : Module or None
        ``residual(x, estimate, c_noise (B,), date (B, K, 4))``, windows (B, K, h, w, C); None leaves out F.
    corrections : iterable of Module, optional
        L and T: ``correction(estimate, c_noise, date)``, whose ``after_network`` says which of them it is.
    mixed : bool, optional
        Run the network in bfloat16 where that is exact enough (default False).
    """

    def __init__(
        self,
        prior: GaussianPrior,
        residual: nn.Module | None,
        corrections: Iterable[nn.Module] = (),
        mixed: bool = False,
    ) -> None:
        super().__init__()
        self.prior, self.residual, self.mixed = prior, residual, mixed
        self.corrections = nn.ModuleList(corrections)
        self.register_state_dict_post_hook(_name_as_in_files)
        self.register_load_state_dict_pre_hook(_name_by_position)

    def forward(self, x_t: Tensor, sigma: Tensor, date: Tensor) -> Tensor:
        """x_t (B, K, h, w, C); sigma () or (B,) or (B, 1); date (K, 4) or (B, K, 4). Returns the estimate of x."""
        sigma = sigma.reshape(-1).expand(x_t.shape[0])
        alone = self.prior.denoise(x_t, sigma)
        date = date.expand(x_t.shape[0], -1, -1)
        column = sigma[:, None, None, None, None]
        scale = torch.rsqrt(column**2 + 1)
        factor = compute_correction_factor(column)
        noise = 10 * torch.log(sigma)

        def corrected(estimate: Tensor, after_network: bool) -> Tensor:
            found = [part(alone, noise, date) for part in self._sum_corrections(after_network)]
            return estimate + factor * torch.stack(found).sum(0) if found else estimate

        estimate = result = corrected(alone, after_network=False)
        if self.residual is not None:
            with torch.autocast(x_t.device.type, torch.bfloat16, enabled=self.mixed):
                correction = self.residual(x_t * scale, estimate, noise, date)
            result = result + factor * correction.to(estimate.dtype)
        return corrected(result, after_network=True)

    def _sum_corrections(self, after_network: bool) -> list[nn.Module]:
        return [part for part in self.corrections if part.after_network == after_network]

    def to_linear(self) -> GaussianDenoiser:
        """D_l alone, which is linear in x_t."""
        return GaussianDenoiser(self.prior, None, self._sum_corrections(after_network=False))

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Covariance of x given x_t under the Gaussian: what Jacobian-free guidance needs."""
        return self.prior.covariance(v, sigma)


def _names(denoiser: GaussianDenoiser) -> dict[str, str]:
    """Names of the corrections in files, by their place in the list."""
    names, count = {}, Counter[str]()
    for k, part in enumerate(denoiser.corrections):
        home = str(part.tensor_name)
        names[f"corrections.{k}."] = f"{home.format(count[home])}."
        count[home] += 1
    return names


def _name_as_in_files(denoiser: Any, tensors: dict[str, Any], prefix: str, _: object) -> None:
    """Files were there before the list: their names say what kind a correction is, and stay."""
    _rename(tensors, prefix, _names(denoiser))


def _name_by_position(denoiser: Any, tensors: dict[str, Any], prefix: str, *_: object) -> None:
    _rename(tensors, prefix, {there: own for own, there in _names(denoiser).items()})


def _rename(tensors: dict[str, Any], prefix: str, names: dict[str, str]) -> None:
    """Replace what names begin with, in place and in order."""
    renamed = {}
    for name, value in tensors.items():
        begin = next((old for old in names if name.startswith(prefix + old)), "")
        renamed[prefix + names[begin] + name[len(prefix + begin) :] if begin else name] = value
    tensors.clear()
    tensors.update(renamed)


def compute_correction_factor(sigma: Tensor) -> Tensor:
    """c, by which corrections of the Gaussian's estimate count: half the posterior deviation at P = 1."""
    return 0.5 * sigma * torch.rsqrt(sigma**2 + 1)
