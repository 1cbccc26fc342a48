"""Hyper-parameters of the diffusion transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from xappa.errors import ModelError
from xappa.model.schema import from_json
from xappa.model.state import DEEPEST, describe_non_positive


@dataclass(frozen=True)
class TransformerSpec:
    """Hyper-parameters, named as in official configurations (section ``backbone``).

    Parameters
    ----------
    in_channels : int
        Channels C of the latents.
    blanket_size : int
        Times K of a window.
    shape : (int, int)
        Latitudes and longitudes (h, w) of the latents.
    hid_channels, hid_blocks : int
        Width and depth.
    attention_heads : int
    mod_features : int
        Features of the code of the noise level; 0 for a network without it as input.
    ffn_factor : int
        Widening of the feed-forward layers.
    qk_norm : bool
        Whether queries and keys are normalised.
    rope : bool
        Whether they are rotated by learned multiples of their coordinates.
    patch_size : (int, int, int)
        Times, latitudes, longitudes that make one token.
    window_size : (int, int, int) or None
        Extent in tokens within which a token sees others (`attention.Tiles`); None: it sees all.

    Raises
    ------
    ModelError
        If the values do not fit together; all problems are named.
    """

    in_channels: int
    blanket_size: int
    shape: tuple[int, int]
    hid_channels: int
    hid_blocks: int
    attention_heads: int
    mod_features: int = 256
    ffn_factor: int = 4
    qk_norm: bool = True
    rope: bool = True
    patch_size: tuple[int, int, int] = (1, 1, 1)
    window_size: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        """Check that the values fit together."""
        names = ("in_channels", "blanket_size", "shape", "hid_channels", "attention_heads", "ffn_factor", "patch_size")
        window, problems = (
            (self.blanket_size, *self.shape),
            describe_non_positive(**{name: getattr(self, name) for name in names}),
        )
        if self.window_size is not None:
            problems += describe_non_positive(window_size=self.window_size)
        if problems:
            raise ModelError(f"Transformer that cannot be built; correct its sizes: {'; '.join(problems)}")
        if any(n % p for n, p in zip(window, self.patch_size, strict=True)):
            problems.append(f"(time, latitude, longitude) {window} is not divisible by patch_size {self.patch_size}")
        if self.hid_channels % (2 * self.attention_heads):
            problems.append(f"hid_channels {self.hid_channels} is not a multiple of 2 * {self.attention_heads} heads")
        if self.mod_features % 2:
            problems.append(f"mod_features {self.mod_features} is odd; expected an even number")
        if self.hid_blocks > DEEPEST:
            problems.append(f"hid_blocks {self.hid_blocks}; expected at most {DEEPEST}")
        if problems:
            raise ModelError(f"Transformer that cannot be built; correct its sizes: {'; '.join(problems)}")

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        in_channels: int | None = None,
        shape: tuple[int, int] | None = None,
    ) -> TransformerSpec:
        """Specification from a configuration; entries that do not shape the network are ignored.

        Parameters
        ----------
        config : mapping
            Section ``backbone`` of an official configuration, or ``dataclasses.asdict(spec)``.
        in_channels, shape : optional
            Latent channels and (latitude, longitude), which official configurations leave to the autoencoder's.

        Raises
        ------
        ModelError
            If entries are missing or of another type.
        """
        values: dict[str, Any] = {f.name: config[f.name] for f in fields(cls) if f.name in config}
        given = {"in_channels": in_channels, "shape": shape}
        values.update({key: value for key, value in given.items() if value is not None})
        required = ("in_channels", "blanket_size", "shape", "hid_channels", "hid_blocks", "attention_heads")
        missing = [key for key in required if key not in values]
        if missing:
            raise ModelError(f"Transformer configuration without {', '.join(missing)}; found {', '.join(config)}")
        return from_json(cls, values, "backbone")

    @property
    def tokens(self) -> tuple[int, int, int]:
        """Tokens along time, latitude and longitude."""
        t, h, w = (n // p for n, p in zip((self.blanket_size, *self.shape), self.patch_size, strict=True))
        return t, h, w
