"""Files of models: ``model.json``, safetensors, configurations and checkpoints of official runs, statistics, locks."""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from tests.fuzz.mutators import mutate_bytes, mutate_text, mutate_tree
from tests.fuzz.target import Target
from tests.official_project import Project
from xappa.model.appa import find_run, read_run
from xappa.model.appa.configuration import read_configuration
from xappa.model.convert import save_model
from xappa.model.directory import read_model, sign_model
from xappa.model.fetching.identity import RemoteFile
from xappa.model.fetching.lock import NAME, LockFile, read_lock, write_lock
from xappa.model.model import Model

Mutate = Callable[[Path, random.Random], None]


def project(folder: Path) -> Sequence[Path]:
    """One official project with the smallest networks."""
    plan = Project()
    plan.ae |= {"shape": [5, 8], "resize": 4, "hid_channels": [4, 4, 4]}
    plan.write(folder / "project")
    return [folder / "project"]


def directory(folder: Path) -> Sequence[Path]:
    """One directory of our own."""
    model = read_run(find_run(project(folder)[0]))
    save_model(model, folder / "model")
    return [folder / "model"]


def lock(folder: Path) -> Sequence[Path]:
    """A folder with a lock file."""
    file = RemoteFile("data/a.pth", 12, "sha256", "0" * 64)
    files = {"denoiser": (file,), "statistics": (RemoteFile("b", 3, "git", "1" * 40),)}
    write_lock(folder / "locked", LockFile("m", "a/b", "f" * 40, "main", "mit", {}, {"weights": "last"}, files))
    return [folder / "locked"]


def damaged(seed: Path, rng: random.Random, folder: Path, damage: Mutate) -> Path:
    """A copy of a folder with something damaged in it."""
    copy = folder / "copy"
    shutil.copytree(seed, copy, symlinks=True)
    damage(copy, rng)
    return copy


def _json(name: str, folder: Path, rng: random.Random) -> None:
    file = folder / name
    if rng.random() < 0.3:
        file.write_bytes(mutate_bytes(file.read_bytes(), rng))
    else:
        file.write_text(json.dumps(mutate_tree(json.loads(file.read_text()), rng)))


def _tensors(folder: Path, rng: random.Random) -> None:
    """Bytes of one file of tensors, mostly of its header; signed, since the hash would tell."""
    file = rng.choice(sorted(folder.glob("*.safetensors")))
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    if rng.random() < 0.5:
        header = json.dumps(mutate_tree(json.loads(content[8:end]), rng)).encode()
        content = len(header).to_bytes(8, "little") + header + content[end:]
    else:
        content = mutate_bytes(content[:end], rng) + content[end:]
    file.unlink()
    file.write_bytes(content)
    sign_model(folder)


def _configuration(folder: Path, rng: random.Random) -> None:
    file = rng.choice(sorted(folder.rglob("config.yaml")))
    text = file.read_text()
    if rng.random() < 0.4:
        file.write_bytes(mutate_text(text, rng, ("ae:", "!!python/object:os.system", "&a", "*a", "null", "~")).encode())
        return
    values = read_configuration(file).values
    file.write_text(yaml.safe_dump(mutate_tree(json.loads(json.dumps(values)), rng)))


def _checkpoint(folder: Path, rng: random.Random) -> None:
    """Bytes of a checkpoint, members of its zip archive, or its tensors."""
    file = rng.choice(sorted(folder.rglob("*.pth")))
    change = rng.randrange(3)
    if change == 0:
        file.write_bytes(mutate_bytes(file.read_bytes(), rng))
    elif change == 1:
        file.write_bytes(_zipped(file.read_bytes(), rng))
    else:
        torch.save(_changed(torch.load(file, weights_only=True), rng), file)


def _zipped(content: bytes, rng: random.Random) -> bytes:
    """An archive with one member damaged, doubled, renamed, packed or left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        chosen = rng.choice(source.namelist())
        for name in source.namelist():
            data, change = source.read(name), rng.randrange(5) if name == chosen else -1
            if change == 0:
                continue
            data = mutate_bytes(data, rng) if change == 1 else data
            name = rng.choice((f"{name}x", f"../{name}", name.upper())) if change == 2 else name
            target.writestr(name, data, zipfile.ZIP_DEFLATED if change == 3 else zipfile.ZIP_STORED)
    return out.getvalue()


def _changed(tensors: dict[str, Any], rng: random.Random) -> Any:
    name = rng.choice(sorted(tensors))
    value = tensors[name]
    changes: list[Any] = [
        value.flatten()[:0], value.double(), value.to(torch.int64), value.to(torch.bool), value * torch.nan,
        value * torch.inf, value[None], value.to(torch.complex64), value.to_sparse(), 5, None, "text", [value],
        {name: value}, torch.empty(value.shape, device="meta"), value.half(), value - value,
    ]  # fmt: skip
    tensors[name] = rng.choice(changes)
    if rng.random() < 0.2:
        tensors[rng.choice(("x", f"{name}.y", ""))] = tensors.pop(name)
    return rng.choice((tensors, tensors, tensors, tensors, [tensors], None))


def _statistics(folder: Path, rng: random.Random) -> None:
    """Metadata or chunks of a store of statistics or masks."""
    files = sorted(file for file in (folder / "data").rglob("*") if file.is_file())
    file = rng.choice(files)
    if file.name.startswith((".z", "zarr")) and rng.random() < 0.7:
        file.write_text(json.dumps(mutate_tree(json.loads(file.read_text()), rng)))
    elif rng.random() < 0.2:
        file.unlink()
    else:
        file.write_bytes(mutate_bytes(file.read_bytes(), rng))


def read_directory(folder: Path) -> Model:
    return read_model(folder)


def read_project(folder: Path) -> Model:
    return read_run(find_run(folder))


def absurd_model(model: Model) -> list[str]:
    """What no model has."""
    spec = model.spec
    wrong = ["no such step"] * (spec.step_hours < 1 or bool(24 % spec.step_hours))
    wrong += ["another grid"] * (spec.shape[1:] != tuple(model.autoencoder.spec.shape))
    wrong += ["channels"] * (len(spec.channels) != model.autoencoder.spec.in_channels)
    numbers = {**model.normalisation.to_arrays(), **model.latents.to_arrays()}
    wrong += [f"{k} not finite" for k, v in numbers.items() if v.dtype.kind == "f" and not np.isfinite(v).all()]
    wrong += [
        f"{part} not finite"
        for part in ("autoencoder", "denoiser")
        if any(t.is_floating_point() and not t.isfinite().all() for t in getattr(model, part).state_dict().values())
    ]
    return wrong


def absurd_lock(found: LockFile | None) -> list[str]:
    if found is None:
        return ["no lock"]
    odd = [file.path for file in found.all_files if file.size < 0 or ".." in file.path or file.path.startswith("/")]
    return ["a path out of the folder or a negative size"] * bool(odd)


def _target(name: str, seeds: Any, damage: Mutate, read: Any, absurd: Any) -> Target:
    return Target(name, seeds, partial(damaged, damage=damage), read, absurd, _never)


def _never(result: Any) -> bool:
    return False


TARGETS = [
    _target("model.json", directory, partial(_json, "model.json"), read_directory, absurd_model),
    _target("safetensors", directory, _tensors, read_directory, absurd_model),
    _target("run-yaml", project, _configuration, read_project, absurd_model),
    _target("run-pth", project, _checkpoint, read_project, absurd_model),
    _target("run-statistics", project, _statistics, read_project, absurd_model),
    _target("lock", lock, partial(_json, NAME), read_lock, absurd_lock),
]
