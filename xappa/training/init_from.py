"""Begin a working folder with what a model directory holds, so that training goes on from it with other years."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from safetensors.numpy import save_file
from torch import nn

from xappa.diffusion.gaussian import GaussianDenoiser
from xappa.errors import ModelError, translate_write_errors
from xappa.model.corrections.local import LocalCorrection
from xappa.model.denoisers import describe
from xappa.model.model import Model
from xappa.training import autoencoder, denoiser
from xappa.training.config import Recipe
from xappa.training.data import STATISTICS
from xappa.training.decoder_correction import without_correction
from xappa.training.encode import LATENT_STATISTICS, MADE_OF_LATENTS
from xappa.training.loop import make_trained_checkpoint, save_atomically, save_tensors

RECORD = ("annual", "diurnal", "diurnal_channels", "scale", "mask", "deviation", "surface_height", "land")
"""Statistics of states."""


def init_from(recipe: Recipe, model: Model, work: Path) -> None:
    """Leave in `work` what the steps before would have left, had they made `model`.

    What is an anomaly, and a standardised latent, stays what it is for the model. The years are those of the recipe. A
    training has come to its end: the recipe's `steps` may be raised afterwards, with `restarts` where they stood. The
    correction that is fitted last and the decoder's remainder are left out, and fitted anew; the decoder rehearses
    again.

    Parameters
    ----------
    recipe : Recipe
        With the sizes that the model has.
    model : Model
    work : Path
        A folder without results of training; simulations may lie there.

    Raises
    ------
    ModelError
        If sizes differ, or the folder has results already, or the model is of another kind.
    """
    network = model.denoiser
    if not isinstance(network, GaussianDenoiser) or network.residual is None:
        raise ModelError(f"{model.name!r} was not made by these steps: its denoiser is a {type(network).__name__}.")
    results = (f"data/{STATISTICS}", *autoencoder.STAGES.values(), "latents.npy", *MADE_OF_LATENTS)
    if found := [name for name in results if (work / name).exists()]:
        raise ModelError(f"{work} holds results already ({', '.join(found)}); name another folder, or remove them.")
    stage = autoencoder.find_last_stage(recipe, before="finetune")
    _require_same_sizes(recipe, model, network, stage)
    arrays = {**model.statistics, **model.normalisation.to_arrays()}
    with translate_write_errors(work):
        (work / "data").mkdir(parents=True, exist_ok=True)
    save_file({name: arrays[name] for name in RECORD}, work / "data" / STATISTICS)
    save_file(model.latents.to_arrays(), work / LATENT_STATISTICS)
    bare = without_correction(model.autoencoder)
    save_atomically(make_trained_checkpoint(bare, getattr(recipe.autoencoder, stage)), work / autoencoder.STAGES[stage])
    save_tensors(network.prior.state_dict(), work / "prior.safetensors")
    local = nn.ModuleList(part for part in network.corrections if isinstance(part, LocalCorrection))
    save_tensors(local.state_dict(), work / "local.safetensors")
    both = nn.ModuleDict({"residual": network.residual, "local": local})
    save_atomically(make_trained_checkpoint(both, recipe.denoiser.training), work / "denoiser.pt")


def _require_same_sizes(recipe: Recipe, model: Model, network: GaussianDenoiser, stage: str) -> None:
    """Sizes of the recipe with those of the model."""
    shape, places = model.autoencoder.spec.latent_shape, autoencoder.has_local_scale(recipe, stage)
    expected = {
        **dataclasses.asdict(autoencoder.make_autoencoder_spec(recipe, model.spec, places)),
        **describe(denoiser.build_untrained(recipe, shape)),
    }
    found = {**dataclasses.asdict(without_correction(model.autoencoder).spec), **describe(network)}
    found.pop("dated", None)
    if wrong := [
        f"{k}: {found[k]} in the model, {expected[k]} in the recipe" for k in found if found[k] != expected[k]
    ]:
        raise ModelError(f"{model.name!r} has other sizes than the recipe: {'; '.join(wrong)}. Change the recipe.")
