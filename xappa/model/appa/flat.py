"""A folder that holds the files of one official model under any names: they are recognised by their contents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from xappa.errors import ModelError
from xappa.model.appa.checkpoints import read_tensors
from xappa.model.appa.configuration import read_configuration
from xappa.model.appa.run_files import RunFiles, choose_checkpoint, find_store
from xappa.model.appa.statistics import is_masks, is_statistics

WHAT = {
    "autoencoder_config": "autoencoder's configuration (YAML with a section 'ae')",
    "autoencoder_weights": "autoencoder's weights (.pth with tensors 'encoder...' and 'decoder...')",
    "denoiser_config": "denoiser's configuration (YAML with a section 'backbone')",
    "denoiser_weights": "denoiser's weights (.pth with tensors 'in_proj...' and 'blocks...')",
    "latent_statistics": "statistics of latents (.pth with 'mean' and 'std')",
}
ROLES = {"ae": "autoencoder_config", "backbone": "denoiser_config"}


def find_flat(path: Path, checkpoint: str | None = None, statistics: Path | None = None) -> RunFiles:
    """The files of the one model that a folder and its subfolders hold.

    Parameters
    ----------
    path, checkpoint, statistics
        See `discovery.find_run`.

    Raises
    ------
    ModelError
        If files are missing, or there are several of a kind; all problems are named.
    """
    found, refused = _assign_roles(path)
    problems = list(refused)
    chosen: dict[str, Path] = {}
    for role, what in WHAT.items():
        try:
            chosen[role] = _require_one_file(found[role], what, checkpoint if role.endswith("weights") else None)
        except ModelError as error:
            problems.append(str(error))
    around = (path, path / "data", *(sub for sub in sorted(path.iterdir()) if sub.is_dir())) if path.is_dir() else ()
    store = statistics or find_store(around, is_statistics, "statistics", "say which one with statistics=")
    if store is None or not store.exists():
        problems.append(f"no {'statistics (Zarr store with the coordinate statistic)' if store is None else store}")
    if len(chosen) < len(WHAT) and not any(found.values()):
        raise ModelError(
            f"{path} holds no model: no model.json, as in xappa's own directories, and no denoisers/<run>/<lap>/, as "
            "in official ones, nor any of their files. Expected one of these."
            + "".join(f"\n- {text}" for text in refused)
        )
    if problems or store is None:
        raise ModelError(f"{path} holds no complete model:" + "".join(f"\n- {text}" for text in problems))
    return RunFiles(root=path, statistics=store, masks=find_store(around, is_masks, "masks"), **chosen)


def _assign_roles(path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Files by role, and those that cannot be read."""
    found: dict[str, list[Path]] = defaultdict(list)
    refused = []
    for file in _list_files(path):
        try:
            for role in _infer_config_roles(file) if file.suffix in (".yaml", ".yml") else _infer_tensor_roles(file):
                found[role].append(file)
        except ModelError as error:
            refused.append(str(error))
    return found, refused


def _list_files(path: Path) -> Iterator[Path]:
    folders = [path, *(sub for sub in sorted(path.iterdir()) if sub.is_dir() and sub.suffix != ".zarr")]
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.suffix in (".yaml", ".yml", ".pth") and ".prev" not in file.name:
                yield file


def _infer_config_roles(file: Path) -> list[str]:
    values = read_configuration(file).values
    return [role for section, role in ROLES.items() if section in values]


def _infer_tensor_roles(file: Path) -> list[str]:
    names = set(read_tensors(file))
    if {"mean", "std"} == names:
        return ["latent_statistics"]
    if any(name.startswith("encoder.") for name in names):
        return ["autoencoder_weights"]
    return ["denoiser_weights"] if "in_proj.weight" in names else []


def _require_one_file(files: list[Path], what: str, checkpoint: str | None) -> Path:
    if not files:
        raise ModelError(f"no {what}")
    if len(files) == 1:
        return files[0]
    ends = {name: [f for f in files if name in f.stem.replace("-", "_").split("_")] for name in ("best", "last")}
    if "weights" in what and all(len(named) == 1 for named in ends.values()) and len(files) == 2:
        return choose_checkpoint({name: named[0] for name, named in ends.items()}, checkpoint, files[0].parent)
    listed = "".join(f"\n    {file}" for file in files)
    raise ModelError(f"several files are the {what}; keep one of:{listed}")
