"""Convolutional autoencoder between physical states and latents (appa's conv AE, with options of our own)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.errors import ModelError, choose
from xappa.model.corrections.decoder import DecoderCorrection
from xappa.model.networks.layers import PADDINGS, SATURATIONS, Conv, ElementwiseAffine, ResBlock, patchify, unpatchify
from xappa.model.schema import from_json
from xappa.model.state import DEEPEST, FINEST, describe_non_positive


@dataclass(frozen=True)
class AutoencoderSpec:
    """Hyper-parameters, named as in official configurations (section ``ae``).

    Parameters
    ----------
    in_channels : int
        Channels of the state.
    lat_channels : int
        Channels of the latents.
    shape : (int, int)
        Latitudes and longitudes of the state.
    resize : int
        Factor by which both are divided in all.
    hid_channels, hid_blocks : tuple of int
        Channels and residual blocks of each level, from the finest.
    pixel_shuffle : bool
        Whether levels are joined by pixel (un)shuffling; else by strided convolution and nearest upsampling.
    patch_size : (int, int)
        Pixels that are gathered into channels before the first convolution.
    ffn_factor : int
        Widening within residual blocks.
    saturation : str or None
        Key of `layers.SATURATIONS`, applied to the encoder's output.
    saturation_bound : float
        Its bound.
    noise_level : float
        Deviation of the noise that latents were trained with. `decode` adds none.
    padding : {"zeros", "circular", "longitude"}
        How convolutions see past the edges (official: "zeros", or "circular" where ``periodic`` is set).
    wrap : bool
        Pad the state before the encoder, round in longitude by a cell of the latent grid on each side, and with
        zeros in latitude, as official models do. Without it the shape must be divisible by the factor.
    linear_skip : bool
        Add a linear map of patches to the encoder and to the decoder (see `ConvAutoencoder.set_linear`).
    static_channels : int
        Constant fields given to the nonlinear parts of both (buffer ``static`` of the network).
    places : bool
        Scale and shift what each block of the decoder's coarsest level makes, by learned factors of every place.
    remainder_channels : tuple of int
        Channels whose residual a linear map of each cell corrects (see `DecoderCorrection`).
    remainder_rank : int
        Patterns of these maps.

    Raises
    ------
    OptionError
        If `saturation` or `padding` is not known.
    ModelError
        If the values do not fit together; all problems are named.
    """

    in_channels: int
    lat_channels: int
    shape: tuple[int, int]
    resize: int
    hid_channels: tuple[int, ...]
    hid_blocks: tuple[int, ...]
    pixel_shuffle: bool = True
    patch_size: tuple[int, int] = (1, 1)
    ffn_factor: int = 1
    saturation: str | None = "softclip2"
    saturation_bound: float = 5.0
    noise_level: float = 0.0
    padding: str = "zeros"
    wrap: bool = True
    linear_skip: bool = False
    static_channels: int = 0
    places: bool = False
    remainder_channels: tuple[int, ...] = ()
    remainder_rank: int = 0

    def __post_init__(self) -> None:
        """Check that the values fit together."""
        if self.saturation is not None:
            choose("saturation", self.saturation, {name: f for name, f in SATURATIONS.items() if name})
        choose("padding", self.padding, dict.fromkeys(PADDINGS))
        problems = describe_non_positive(
            **{name: getattr(self, name) for name in ("in_channels", "lat_channels", "shape", "resize")},
            **{name: getattr(self, name) for name in ("hid_channels", "patch_size", "ffn_factor")},
        )
        if max(self.shape) > FINEST:
            problems.append(f"shape {self.shape}; expected at most {FINEST} rows and columns")
        if problems:
            raise ModelError(f"Autoencoder that cannot be built; correct its sizes: {'; '.join(problems)}")
        if not self.hid_channels or len(self.hid_channels) != len(self.hid_blocks):
            problems.append(
                f"hid_channels has {len(self.hid_channels)} levels and hid_blocks {len(self.hid_blocks)};"
                " expected one entry a level in both"
            )
        if self.remainder_channels and (self.wrap or len(set(self.stride)) > 1):
            problems.append("remainder_channels need wrap=False and square cells")
        if any(n % s for n, s in zip(self.padded_shape, self.stride, strict=True)):
            problems.append(
                f"shape {self.padded_shape} is not divisible by patch_size times 2^(levels - 1) = {self.stride};"
                + (" check resize" if self.wrap else " set wrap=True, or change the shape")
            )
        if max(self.hid_blocks, default=0) > DEEPEST:
            problems.append(f"hid_blocks {max(self.hid_blocks)}; expected at most {DEEPEST}")
        if problems:
            raise ModelError(f"Autoencoder that cannot be built; correct its sizes: {'; '.join(problems)}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AutoencoderSpec:
        """Specification from a configuration; entries that do not shape the network are ignored.

        Parameters
        ----------
        config : mapping
            Section ``ae`` of an official configuration, or ``dataclasses.asdict(spec)``.

        Raises
        ------
        ModelError
            If entries are missing or of another type, or ask for convolutions other than 3 x 3 and strides other
            than 2.
        """
        required = ("in_channels", "lat_channels", "shape", "resize", "hid_channels", "hid_blocks")
        problems = [f"{key} is missing" for key in required if key not in config]
        for key, only in (("kernel_size", 3), ("stride", 2)):
            value = config.get(key, only)
            if any(v != only for v in (value if isinstance(value, Sequence) else (value,))):
                problems.append(f"{key} is {value}; only {only} is supported")
        if problems:
            raise ModelError("Autoencoder configuration that cannot be used: " + "; ".join(problems))
        values: dict[str, Any] = {f.name: config[f.name] for f in fields(cls) if f.name in config}
        if "padding" not in config and config.get("periodic", False):
            values["padding"] = "circular"
        return from_json(cls, values, "ae")

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Columns added west and east, rows added at the first and at the last latitude."""
        if not self.wrap:
            return 0, 0, 0, 0
        rows = -self.shape[0] % self.resize
        columns = -self.shape[1] % self.resize + 2 * self.resize
        return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Rows and columns that the encoder sees."""
        west, east, first, last = self.pads
        return self.shape[0] + first + last, self.shape[1] + west + east

    @property
    def stride(self) -> tuple[int, int]:
        """Rows and columns of the state in a cell of the latent grid."""
        p, q = self.patch_size
        halvings = max(len(self.hid_channels) - 1, 0)
        return p * 2**halvings, q * 2**halvings

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(latitude, longitude, channel) of the latents."""
        (rows, columns), (p, q) = self.padded_shape, self.stride
        return rows // p, columns // q, self.lat_channels

    @property
    def graph_bytes(self) -> int:
        """Memory of a state's encoding or decoding that is to be differentiated, nearly: bytes, in float32."""
        height, width = (n // p for n, p in zip(self.padded_shape, self.patch_size, strict=True))
        pixels = [height * width // 4**level for level in range(len(self.hid_channels))]
        # A block keeps its norm's three intermediate fields, and what comes out of each convolution and of the SiLU.
        kept = (
            n * channels * (blocks * (3 + 2 * self.ffn_factor) + 1)
            for n, channels, blocks in zip(pixels, self.hid_channels, self.hid_blocks, strict=True)
        )
        return 4 * sum(kept)


class Encoder(nn.Module):
    """The nonlinear part of the encoder, without saturation."""

    def __init__(self, spec: AutoencoderSpec):
        super().__init__()
        self.patch = spec.patch_size
        before = (spec.in_channels + spec.static_channels) * prod(spec.patch_size)
        levels = []
        for level, (channels, blocks) in enumerate(zip(spec.hid_channels, spec.hid_blocks, strict=True)):
            entry: nn.Module
            if level == 0:
                entry = Conv(before, channels, padding=spec.padding)
            elif spec.pixel_shuffle:
                entry = nn.Sequential(nn.PixelUnshuffle(2), Conv(4 * before, channels, padding=spec.padding))
            else:
                entry = Conv(before, channels, stride=2, padding=spec.padding)
            residual = (ResBlock(channels, spec.ffn_factor, spec.padding) for _ in range(blocks))
            levels.append(nn.Sequential(entry, *residual))
            before = channels
        levels[-1].append(Conv(before, spec.lat_channels, padding=spec.padding))
        self.descent = nn.ModuleList(levels)

    @property
    def last(self) -> Conv:
        """The convolution that makes the output."""
        return _get_last_conv(self.descent)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in + static channels, H, W) to (B, lat_channels, h, w)."""
        x = patchify(x, self.patch)
        for level in self.descent:
            x = level(x)
        return x


class Decoder(nn.Module):
    """The nonlinear part of the decoder."""

    def __init__(self, spec: AutoencoderSpec):
        super().__init__()
        self.spec = spec
        levels = list(zip(spec.hid_channels, spec.hid_blocks, strict=True))[::-1]
        outputs = [channels for channels, _ in levels[1:]] + [spec.in_channels * prod(spec.patch_size)]
        self.ascent = nn.ModuleList()
        for k, ((channels, blocks), after) in enumerate(zip(levels, outputs, strict=True)):
            level = nn.Sequential(*(ResBlock(channels, spec.ffn_factor, spec.padding) for _ in range(blocks)))
            if k == 0:
                before = spec.lat_channels + spec.static_channels * prod(spec.stride)
                level.insert(0, Conv(before, channels, padding=spec.padding))
            if k == len(levels) - 1:
                level.append(Conv(channels, after, padding=spec.padding))
            elif spec.pixel_shuffle:
                level.append(nn.Sequential(Conv(channels, 4 * after, padding=spec.padding), nn.PixelShuffle(2)))
            else:
                level.append(nn.Sequential(nn.Upsample(scale_factor=2), Conv(channels, after, padding=spec.padding)))
            self.ascent.append(level)
        if spec.places:
            (height, width, _), (channels, blocks) = spec.latent_shape, levels[0]
            self.places = nn.ModuleList(ElementwiseAffine(channels, (height, width)) for _ in range(1 + blocks))

    @property
    def last(self) -> Conv:
        """The convolution that makes the output."""
        return _get_last_conv(self.ascent)

    def forward(self, z: Tensor) -> Tensor:
        """(B, lat_channels + unshuffled static channels, h, w) to (B, in_channels, H, W)."""
        coarsest, *finer = self.ascent
        for k, block in enumerate(cast(nn.Sequential, coarsest)):
            z = block(z)
            if self.spec.places and k < len(self.places):
                z = self.places[k](z)
        for level in finer:
            z = level(z)
        return unpatchify(z, self.spec.patch_size)


def _get_last_conv(levels: nn.ModuleList) -> Conv:
    return cast(Conv, cast(nn.Sequential, levels[-1])[-1])


class ConvAutoencoder(nn.Module):
    """Autoencoder of single states; parameters are named as in official state dicts.

    Parameters
    ----------
    spec : AutoencoderSpec

    Attributes
    ----------
    static : Tensor (static_channels, H, W)
        Constant fields, zeros until they are set; only where the specification asks for some.
    """

    static: Tensor
    corrected: Tensor

    def __init__(self, spec: AutoencoderSpec):
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec)
        self.decoder = Decoder(spec)
        if spec.static_channels:
            self.register_buffer("static", torch.zeros(spec.static_channels, *spec.shape))
        if spec.linear_skip:
            channels, latents, patch = spec.in_channels, spec.lat_channels, spec.stride
            self.encoder_linear = nn.Conv2d(channels, latents, patch, stride=patch, bias=False)
            self.decoder_linear = nn.ConvTranspose2d(latents, channels, patch, stride=patch, bias=False)
            with torch.no_grad():
                for value in (*self.encoder.last.parameters(), *self.decoder.last.parameters()):
                    value.mul_(0.1)
        if spec.remainder_channels:
            count, rank = len(spec.remainder_channels), spec.remainder_rank
            self.remainder = DecoderCorrection(spec.latent_shape, spec.stride[0], count, rank)
            self.register_buffer("corrected", torch.tensor(spec.remainder_channels), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Latents (B, h, w, C) of standardised states (B, in_channels, H, W)."""
        return self.saturate(self.encode_unsaturated(self.pad(x))).permute(0, 2, 3, 1).contiguous()

    def decode(self, z: Tensor) -> Tensor:
        """Standardised states (B, in_channels, H, W) of latents (B, h, w, C)."""
        z = z.permute(0, 3, 1, 2)
        x = self.decoder(self._with_static(z, self._reduce_static))
        if self.spec.linear_skip:
            x = x + self.decoder_linear(z)
        x = self.unpad(x)
        if self.spec.remainder_channels:
            x = x.index_add(1, self.corrected, self.remainder(z).to(x.dtype))
        return x

    def encode_unsaturated(self, x: Tensor) -> Tensor:
        """Latents (B, C, h, w) of padded states, before saturation."""
        z = self.encoder(self._with_static(x, self.pad))
        return z + self.encoder_linear(x) if self.spec.linear_skip else z

    def saturate(self, z: Tensor) -> Tensor:
        """Keep latents (B, C, h, w) in their range."""
        return SATURATIONS[self.spec.saturation](z, self.spec.saturation_bound)

    def pad(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, *spec.padded_shape)."""
        west, east, first, last = self.spec.pads
        if west or east:
            x = F.pad(x, (west, east, 0, 0), mode="circular")
        return F.pad(x, (0, 0, first, last)) if first or last else x

    def unpad(self, x: Tensor) -> Tensor:
        """Inverse of `pad`."""
        west, _, first, _ = self.spec.pads
        height, width = self.spec.shape
        return x[:, :, first : first + height, west : west + width]

    @torch.no_grad()
    def set_linear(self, components: Tensor, scales: Tensor) -> None:
        """Make the linear maps those of a principal component analysis of patches.

        Parameters
        ----------
        components : Tensor (in_channels * p * q, lat_channels)
            Orthonormal columns; rows ordered channel, row, column, for patches of p x q = ``spec.stride``.
        scales : Tensor (lat_channels,)
            Deviation of each component: the linear latents have deviation one.
        """
        kernel = components.mT.unflatten(1, (self.spec.in_channels, *self.spec.stride))
        self.encoder_linear.weight.copy_(kernel / scales[:, None, None, None])
        self.decoder_linear.weight.copy_(kernel * scales[:, None, None, None])

    def _reduce_static(self, static: Tensor) -> Tensor:
        return patchify(self.pad(static), self.spec.stride)

    def _with_static(self, x: Tensor, shaped: Any) -> Tensor:
        """`x` with the static fields as further channels, brought to its grid by `shaped`."""
        if not self.spec.static_channels:
            return x
        static = shaped(self.static[None]).to(x.dtype)
        return torch.cat((x, static.expand(len(x), -1, -1, -1)), 1)
