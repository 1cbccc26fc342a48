"""The files of one official model, and which of several checkpoints and stores is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from xappa.errors import ModelError


@dataclass(frozen=True)
class RunFiles:
    """The files of an official model.

    Parameters
    ----------
    root : Path
        Folder that contains the others: the project, or the flat folder.
    autoencoder_config, autoencoder_weights, denoiser_config, denoiser_weights, latent_statistics : Path
    statistics : Path
        Zarr store of means and deviations.
    masks : Path or None
        Zarr store of masks.
    """

    root: Path
    autoencoder_config: Path
    autoencoder_weights: Path
    denoiser_config: Path
    denoiser_weights: Path
    latent_statistics: Path
    statistics: Path
    masks: Path | None = None


def choose_checkpoint(found: dict[str, Path], asked: str | None, where: Path) -> Path:
    """The checkpoint that was asked for, or the last.

    Raises
    ------
    ModelError
        If it is not there, or there is none.
    """
    if not found:
        raise ModelError(f"{where} holds no checkpoint; expected model_best.pth or model_last.pth.")
    if asked is None:
        known = [name for name in ("last", "best", "model") if name in found]
        if not known and len(found) > 1:
            raise ModelError(f"{where} holds the checkpoints {', '.join(found)}; say which one with checkpoint=.")
        return found[known[0] if known else next(iter(found))]
    if asked not in found:
        raise ModelError(f"{where} holds no checkpoint {asked!r}; found {', '.join(map(repr, found))}.")
    return found[asked]


def find_store(
    folders: Iterable[Path], fits: Callable[[Path], bool], what: str, say: str = "keep one of them there"
) -> Path | None:
    """The Zarr store that fits, in the first of `folders` that has any.

    Raises
    ------
    ModelError
        If that folder has several.
    """
    for folder in dict.fromkeys(folders):
        found = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and fits(sub)] if folder.is_dir() else []
        if len(found) > 1:
            listed = "\n".join(f"  {store}" for store in found)
            raise ModelError(f"{folder} holds {len(found)} stores of {what}; {say}:\n{listed}")
        if found:
            return found[0]
    return None
