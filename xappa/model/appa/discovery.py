"""Discovery of the parts of an official project by its layout; no names of runs are assumed.

    <project>/autoencoders/<run>/<lap>/                    config.yaml, model_best.pth, model_last.pth
        latents/<dump>/                                    stats.pth
            ae/                                            config.yaml, model.pth
            denoisers/<run>/<lap>/                         config.yaml, model_best.pth, model_last.pth
    <project>/data/                                        Zarr stores of statistics and masks

A folder without that layout is looked at by `flat`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from xappa.errors import ModelError
from xappa.model.appa.flat import find_flat
from xappa.model.appa.run_files import RunFiles, choose_checkpoint, find_store
from xappa.model.appa.statistics import is_masks, is_statistics

CONFIG = "config.yaml"
DEPTH = 8  # levels of folders between a project and its denoisers, and one to spare


def find_run(path: Path, checkpoint: str | None = None, statistics: Path | None = None) -> RunFiles:
    """The files of the one model that a path holds.

    Parameters
    ----------
    path : Path
        A project, an autoencoder's run, a latent dump, a denoiser's run or lap, one of its checkpoints (a ``.pth``
        file), any folder between these, or a flat folder of the files of one model.
    checkpoint : str, optional
        ``"best"`` or ``"last"``. Default: the one that is there, the last if both are.
    statistics : Path, optional
        Store of statistics. Default: the one beside the latents, the run, or in the project's ``data``.

    Raises
    ------
    ModelError
        If there is no model, more than one (they are listed), or files of it are missing (all are named).
    """
    path = Path(os.path.abspath(path))
    if path.is_file():
        if path.suffix != ".pth":
            raise ModelError(f"{path} is no model; expected a folder, or a denoiser's checkpoint (.pth).")
        name = _checkpoint_name(path)
        if checkpoint not in (None, name):
            raise ModelError(f"{path} is the checkpoint {name!r}, and checkpoint={checkpoint!r} was asked for.")
        path, checkpoint = path.parent, name
    laps = list(_find_laps(path))
    if not laps:
        return find_flat(path, checkpoint, statistics)
    if len(laps) > 1:
        listed = "\n".join(f"  {lap}  ({', '.join(list_checkpoints(lap)) or 'no checkpoint'})" for lap in laps)
        raise ModelError(f"{path} holds {len(laps)} denoisers; give the path of the one that you want:\n{listed}")
    return _find_lap_files(laps[0], checkpoint, statistics)


def list_checkpoints(folder: Path) -> dict[str, Path]:
    """Checkpoints of a lap by name: ``"best"``, ``"last"``; ``"model"`` where there is one without a name."""
    return {_checkpoint_name(file): file for file in sorted(folder.glob("model*.pth")) if ".prev" not in file.name}


def _find_laps(path: Path) -> Iterator[Path]:
    """Laps of denoisers at or below a folder, sorted."""
    for folder, below, files in os.walk(path):
        here = Path(folder)
        depth = len(here.relative_to(path).parts)
        below[:] = sorted(name for name in below if not name.endswith(".zarr") and not name.startswith("."))
        if depth >= DEPTH:
            below.clear()
        if CONFIG in files and here.parent.parent.name == "denoisers":
            below.clear()
            yield here


def _find_lap_files(lap: Path, checkpoint: str | None, statistics: Path | None) -> RunFiles:
    """The files of a model from the folders above a denoiser's lap."""
    dump, run, project = (lap.parents[min(n, len(lap.parents) - 1)] for n in (2, 4, 7))
    around = (lap, dump, run, run.parent, project / "data", project)
    problems: list[str] = []

    def needed(find: Callable[[], Path | None], missing: str) -> Path:
        try:
            found = find()
        except ModelError as error:
            problems.append(str(error))
            return lap
        if found is None or not found.exists():
            problems.append(missing)
        return found or lap

    config = dump / "ae" / CONFIG
    config = config if config.exists() else run / CONFIG
    # The copy beside the latents is the one that made them, whichever checkpoint that was.
    own = dump / "ae" / "model.pth"
    files = RunFiles(
        root=project,
        autoencoder_config=needed(lambda: config, f"no autoencoder's configuration: {config}"),
        autoencoder_weights=needed(
            lambda: own if own.exists() else choose_checkpoint(list_checkpoints(run), None, run), ""
        ),
        denoiser_config=lap / CONFIG,
        denoiser_weights=needed(lambda: choose_checkpoint(list_checkpoints(lap), checkpoint, lap), ""),
        latent_statistics=needed(lambda: dump / "stats.pth", f"no statistics of latents: {dump / 'stats.pth'}"),
        statistics=needed(
            lambda: statistics or find_store(around, is_statistics, "statistics", "say which one with statistics="),
            f"no statistics: expected a Zarr store with the coordinate 'statistic' in {project / 'data'}"
            if statistics is None
            else f"no statistics: {statistics}",
        ),
        masks=find_store(around, is_masks, "masks"),
    )
    if problems:
        listed = "".join(f"\n- {text}" for text in problems)
        raise ModelError(f"The model of {lap} is not complete; fetch, copy or name what is missing:{listed}")
    return files


def _checkpoint_name(file: Path) -> str:
    return file.stem.removeprefix("model_")
