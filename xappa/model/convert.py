"""From a model of any kind to a directory of our own."""

from __future__ import annotations

from pathlib import Path

from xappa.errors import ModelError
from xappa.model.directory import write_model
from xappa.model.model import Model
from xappa.model.opening import open_model


def convert(
    path: str | Path,
    out: str | Path,
    *,
    dtype: str = "float32",
    checkpoint: str | None = None,
    statistics: str | Path | None = None,
) -> Path:
    """Write a model, such as an official run, as a model directory of xappa.

    The directory is complete in itself: the networks, all statistics, and a ``model.json`` that says what they are.

    Parameters
    ----------
    path : str or Path
        Anything that `xappa.load` takes as a path.
    out : str or Path
        The directory; made, or overwritten if it is a model directory.
    dtype : {"float32", "float16", "bfloat16"}, default "float32"
        Data type of the networks' parameters on disk. 16 bits take half the room; loading widens them to float32.
    checkpoint, statistics
        As for `xappa.load`.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ModelError
        If `path` holds no model, `out` holds other things, or parameters overflow `dtype`.
    OptionError
        If `dtype` is not known.

    Examples
    --------
    >>> from xappa.model.convert import convert
    >>> convert("appa/autoencoders/workshop/0", "appa-model", dtype="float16")  # doctest: +SKIP
    """
    path, out = Path(path), Path(out)
    if not path.exists():
        raise ModelError(f"{path} does not exist; expected a run directory or a model directory.")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "model.json").exists())):
        raise ModelError(f"{out} is there and is no model directory; expected a new folder, or one to overwrite.")
    if out.resolve() == path.resolve():
        raise ModelError(f"{out} is what is converted; expected another folder.")
    model = open_model(path, "cpu", checkpoint, None if statistics is None else Path(statistics))
    save_model(model, out, dtype=dtype, name=out.resolve().name)
    return out


def save_model(model: Model, out: Path, *, dtype: str = "float32", name: str | None = None) -> None:
    """Write a model as a directory.

    Parameters
    ----------
    model : Model
    out : Path
    dtype : {"float32", "float16", "bfloat16"}, default "float32"
        Data type of the networks' parameters on disk.
    name : str, optional
        Default: the model's.
    """
    write_model(
        out,
        name=name or model.name,
        spec=model.spec,
        autoencoder=model.autoencoder,
        tangent=model.tangent,
        denoiser=model.denoiser,
        schedule=model.schedule,
        statistics={**model.normalisation.to_arrays(), **model.latents.to_arrays(), **model.statistics},
        about=model.about,
        normalisation=model.normalisation.kind,
        latents=model.latents.kind,
        dtype=dtype,
    )
