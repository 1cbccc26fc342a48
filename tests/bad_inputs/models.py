"""Model directories of our own that are refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

import xappa
from tests import bad_inputs
from tests.bad_inputs import BadInput, Places, refused
from xappa.errors import IntegrityError, ModelError, OptionError
from xappa.model.directory import sign_model

GOOD = json.loads((Path(xappa.__file__).parent / "data" / "speedy" / "model.json").read_text())
changed = partial(bad_inputs.changed, GOOD)


RECORDS: dict[str, Any] = {
    "nothing": "",
    "cut short": json.dumps(GOOD)[:5000],
    "nested without end": "[" * 100_000,
    "a list": "[]",
    "another format": changed("format", to=2),
    "no name": {k: v for k, v in GOOD.items() if k != "name"},
    "files that are null": changed("files", to=None),
    "a hash that is none": changed("files", "denoiser.safetensors", to="abc"),
    "an absolute path": changed("files", "/etc/hostname", to="0" * 64),
    "a path upwards": changed("files", "../denoiser.safetensors", to="0" * 64),
    "a path of another system": changed("files", "c:\\weights", to="0" * 64),
    "a number for the state": changed("state", to=5),
    "a channel that is a number": changed("state", "channels", 0, to=5),
    "a channel that comes twice": changed("state", "channels", 1, to=["2m_temperature", None]),
    "a level in Pa": changed("state", "channels", 7, to=["temperature", 20000]),
    "a step that is no part of a day": changed("state", "step_hours", to=7),
    "a negative step": changed("state", "step_hours", to=-6),
    "a step that is a truth value": changed("state", "step_hours", to=True),
    "no window": changed("state", "window", to=0),
    "an endless window": changed("state", "window", to=10**9),
    "a latitude that is text": changed("state", "latitude", 3, to="north"),
    "a latitude beyond the pole": changed("state", "latitude", 0, to=-91.0),
    "a longitude that is not finite": json.dumps(changed("state", "longitude", 0, to=float("nan"))),
    "other units": changed("units", "2m_temperature", to="degC"),
    "a spelling": changed("autoencoder", "hid_chanels", to=1),
    "another grid of the autoencoder": changed("autoencoder", "shape", to=[24, 48]),
    "a tower of blocks": changed("autoencoder", "hid_blocks", to=[2, 10**7]),
    "widths that the file has not": changed("autoencoder", "hid_channels", to=[80, 1 << 22]),
    "another tower of blocks": changed("denoiser", "residual", "blocks", to=10**6),
    "patterns that the file has not": changed("denoiser", "patterns", to=1 << 20),
    "another window of the denoiser": changed("denoiser", "residual", "window", to=9),
    "an unknown kind of denoiser": changed("denoiser", "kind", to="oracle"),
    "a denoiser of another type": changed("denoiser", "kind", to=["transformer"]),
    "an unknown schedule": changed("schedule", "kind", to="stairs"),
    "noise levels in the wrong order": changed("schedule", "sigma_min", to=2000.0),
    "an unknown normalisation": changed("normalisation", to="none"),
    "unknown latents": changed("latents", to="none"),
}
"""Contents of ``model.json``, as text or as an object."""


def load_record(record: Any, places: Places) -> None:
    """Load the embedded model with another record."""
    folder = places.model()
    (folder / "model.json").write_text(record if isinstance(record, str) else json.dumps(record))
    xappa.load(folder, device="cpu")


def changed_tensors(file: str, change: Any, places: Places, sign: bool = True) -> None:
    """Load the embedded model with other tensors in one file."""
    folder = places.model()
    path = folder / f"{file}.safetensors"
    content = path.read_bytes()
    path.unlink()
    if (made := change(content)) is not None:
        path.write_bytes(made)
    if sign:
        sign_model(folder)
    xappa.load(folder, device="cpu")


def put_nan(folder: Path, file: str) -> str:
    """Put NaN into the largest tensor of a file, whose name is returned, and sign the folder anew."""
    path = folder / f"{file}.safetensors"
    arrays = load_file(path)
    name = max(arrays, key=lambda key: arrays[key].size if arrays[key].dtype.kind == "f" else 0)
    arrays[name].flat[-1] = np.nan
    path.unlink()
    save_file(arrays, path)
    sign_model(folder)
    return name


def with_nan(places: Places, file: str = "denoiser") -> None:
    folder = places.model()
    put_nan(folder, file)
    xappa.load(folder, device="cpu")


def without_entry(name: str, places: Places) -> None:
    folder = places.model()
    kept = {file: digest for file, digest in GOOD["files"].items() if file != name}
    (folder / "model.json").write_text(json.dumps({**GOOD, "files": kept}))
    xappa.load(folder, device="cpu")


FILES = [
    *(
        BadInput(
            f"`{file}.safetensors` without a hash in `model.json`",
            partial(without_entry, f"{file}.safetensors"),
            IntegrityError,
        )
        for file in ("autoencoder", "denoiser", "statistics")
    ),
    BadInput(
        "a file that is missing", lambda p: changed_tensors("denoiser", lambda b: None, p, sign=False), IntegrityError
    ),
    BadInput(
        "a file that was changed",
        lambda p: changed_tensors("statistics", lambda b: b + b" ", p, sign=False),
        IntegrityError,
    ),
    BadInput("a file that is cut", lambda p: changed_tensors("denoiser", lambda b: b[:1000], p), ModelError),
    BadInput("a file that is empty", lambda p: changed_tensors("denoiser", lambda b: b"", p), ModelError),
    BadInput("a file that is noise", lambda p: changed_tensors("autoencoder", lambda b: b"\xff" * 100, p), ModelError),
    BadInput(
        "statistics that are noise", lambda p: changed_tensors("statistics", lambda b: b"\xff" * 100, p), ModelError
    ),
    BadInput("numbers that are not finite", with_nan, ModelError),
    BadInput("statistics that are not finite", lambda p: with_nan(p, "statistics"), ModelError),
]
NAMES = refused(
    ModelError,
    {
        "a name that is not known": lambda p: xappa.load("speedi"),
        "a path that is not there": lambda p: xappa.load(p.scratch / "nowhere"),
        "a folder without a model": lambda p: xappa.load(p.scratch),
        "a checkpoint that is not there": lambda p: xappa.load(p.scratch / "model_last.pth"),
        "`checkpoint=` of a model directory": lambda p: xappa.load(p.model(), checkpoint="best"),
    },
) + refused(
    OptionError,
    {
        "a name that is no text": lambda p: xappa.load(5),  # type: ignore[arg-type]
        "`device=` that torch does not know": lambda p: xappa.load("speedy", device="gpu"),
        "`precision=` that is not known": lambda p: xappa.load("speedy", precision="float8"),
        "`revision=` of an embedded model": lambda p: xappa.fetch("speedy", revision="main"),
    },
)
TABLES = [
    ("Names and paths of models", NAMES),
    (
        "The file `model.json`",
        [BadInput(what, partial(load_record, record), ModelError) for what, record in RECORDS.items()],
    ),
    ("Other files of a model directory", FILES),
]
