"""Which files of a repository make a model, found by what they are: names of runs are the authors' own.

Each folder with a ``config.yaml`` beside weights is a run: of an autoencoder where the configuration has ``ae``, of a
denoiser where it has ``backbone``. The latents that a denoiser was trained on are described by ``stats.pth`` in the
nearest folder above it, and the autoencoder that made them lies beside that file in ``ae``, or above. Statistics and
masks are the Zarr stores with those variables. Nothing else is taken; above all not the latents themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

from xappa.errors import ModelError, OptionError
from xappa.models.fetching.hub import folders
from xappa.models.fetching.identity import RemoteFile
from xappa.models.fetching.space import megabytes

CONFIG = "config.yaml"
LATENTS = "stats.pth"
LONGEST_CONFIG = 2**20
STORES = {"statistics": ("statistic", "stats"), "masks": ("sea_surface_temperature_mask", "masks")}
WEIGHTS = {"last": ("model_last.pth", "model_best.pth"), "best": ("model_best.pth", "model_last.pth")}
_WEIGHTS = {"model.pth", *WEIGHTS["last"]}
CHOICES = ("denoiser", "autoencoder", *STORES, "weights")

Read = Callable[[RemoteFile], bytes]


@dataclass(frozen=True)
class Selection:
    """What is needed, and what decided it.

    Parameters
    ----------
    files : dict
        Files by role.
    choice : dict
        Folder by role; ``"weights"``: ``"last"`` or ``"best"``.
    """

    files: dict[str, tuple[RemoteFile, ...]]
    choice: dict[str, str]


@dataclass(frozen=True)
class Run:
    """A folder with a configuration and weights."""

    folder: str
    kind: str
    name: str
    files: Mapping[str, RemoteFile]

    def weights(self, preferred: str) -> RemoteFile | None:
        """The file of weights."""
        names = ("model.pth", *WEIGHTS[preferred])
        return next((self.files[name] for name in names if name in self.files), None)

    def __str__(self) -> str:
        sizes = [megabytes(file.size) for name, file in self.files.items() if name.endswith(".pth")]
        return f"{self.folder}  ({self.name or 'no name'}, {', '.join(sizes)})"


def check_choice(choice: Mapping[str, str] | None) -> dict[str, str]:
    """The choice as a dict.

    Raises
    ------
    OptionError
        If it names something that cannot be chosen.
    """
    made = dict(choice or {})
    unknown = [key for key in made if key not in CHOICES]
    if unknown:
        raise OptionError(
            f"choose has {', '.join(map(repr, unknown))}; expected some of {', '.join(map(repr, CHOICES))}."
        )
    if made.get("weights", "last") not in WEIGHTS:
        raise OptionError(f"choose['weights'] is {made['weights']!r}; expected 'last' or 'best'.")
    return made


def select(
    tree: tuple[RemoteFile, ...], read: Read, roles: Mapping[str, str], choice: Mapping[str, str], where: str
) -> Selection:
    """Files of the roles.

    Parameters
    ----------
    tree : tuple of RemoteFile
        All files of the repository.
    read : callable
        Gives the contents of a small file.
    roles : dict
        ``"required"`` or ``"optional"`` by role.
    choice : dict
        A path by role, or a part of one that no other candidate has; ``"weights"``: which of a run's two.
    where : str
        Name of the repository and its revision, for messages.

    Raises
    ------
    ModelError
        If a required role has no candidate, or several and none was chosen: all are listed.
    """
    listing = dict(folders(tree))
    weighty = [folder for folder, files in listing.items() if CONFIG in files and not _WEIGHTS.isdisjoint(files)]
    asked = dict.fromkeys([*weighty, *(above for folder in weighty for above in _above(folder))])
    configs = {f: _config(listing[f][CONFIG], read) for f in asked if CONFIG in listing.get(f, {})}
    runs = [Run(f, *configs[f], listing[f]) for f in weighty]
    preferred = choice.get("weights", "last")
    candidates = {"denoiser": {run.folder: str(run) for run in runs if run.kind == "denoiser"}}
    candidates |= {role: {store: store for store in _stores(listing, role)} for role in STORES}
    chosen, problems = _choose(candidates, choice, roles)
    if problems:
        raise ModelError(_several(where, problems))

    by_folder = {run.folder: run for run in runs}
    denoiser = by_folder[chosen["denoiser"]]
    latents = next((folder for folder in _above(denoiser.folder) if LATENTS in listing.get(folder, {})), None)
    encoders = _encoders(runs, latents, denoiser.folder, choice)
    found, problems = _choose({"autoencoder": {run.folder: str(run) for run in encoders}}, choice, roles)
    if latents is None:
        problems.append(f"latents: none of the folders above {denoiser.folder} has {LATENTS}")
    if latents is None or problems:
        raise ModelError(_several(where, problems))

    # A loader that starts from the denoiser looks for the autoencoder's configuration in the folders above it.
    above = [listing[f][CONFIG] for f in _above(denoiser.folder) if configs.get(f, ("", ""))[0] == "autoencoder"]
    encoder = by_folder[found["autoencoder"]]
    files = {
        "autoencoder": _unique([*_of_run(encoder, preferred), *above]),
        "latents": (listing[latents][LATENTS],),
        "denoiser": _of_run(denoiser, preferred),
        **{r: tuple(f for f in tree if f.path.startswith(chosen[r] + "/")) for r in STORES if r in chosen},
        "notes": tuple(f for name, f in listing.get("", {}).items() if name.lower().startswith(("readme", "licen"))),
    }
    return Selection(files, chosen | found | {"weights": preferred})


def _config(file: RemoteFile, read: Read) -> tuple[str, str]:
    """What a configuration is of, and its name. Tags of other languages are not constructed, only passed over."""
    if file.size > LONGEST_CONFIG:
        return "", ""
    try:
        node = yaml.compose(read(file).decode(), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return "", ""
    sections = _mapping(node)
    for kind, key in (("denoiser", "backbone"), ("autoencoder", "ae")):
        if key in sections:
            return kind, str(getattr(_mapping(sections[key]).get("name"), "value", ""))
    return "", ""


def _mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {k.value: v for k, v in node.value} if isinstance(node, yaml.MappingNode) else {}


def _of_run(run: Run, preferred: str) -> tuple[RemoteFile, ...]:
    weights = run.weights(preferred)
    return (run.files[CONFIG], *([weights] if weights else []))


def _encoders(runs: Sequence[Run], latents: str | None, denoiser: str, choice: Mapping[str, str]) -> list[Run]:
    """Autoencoders that may have made the latents: one where the layout tells, else all."""
    known = {run.folder: run for run in runs if run.kind == "autoencoder"}
    if "autoencoder" not in choice:
        near = ([f"{latents}/ae".lstrip("/")] if latents is not None else []) + list(_above(denoiser))
        for folder in near:
            if folder in known:
                return [known[folder]]
    return list(known.values())


def _stores(listing: Mapping[str, Mapping[str, RemoteFile]], role: str) -> list[str]:
    """Zarr stores that have the variable of a role, or else its name."""
    variable, prefix = STORES[role]
    members: dict[str, set[str]] = {}
    for folder in listing:
        parts = PurePosixPath(folder).parts
        depth = next((k for k, part in enumerate(parts, 1) if part.endswith(".zarr")), 0)
        if depth:
            members.setdefault("/".join(parts[:depth]), set()).update(parts[depth : depth + 1])
    having = [store for store, variables in members.items() if variable in variables]
    return having or [store for store in members if PurePosixPath(store).name.startswith(prefix)]


def _choose(
    candidates: Mapping[str, Mapping[str, str]], choice: Mapping[str, str], roles: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    chosen, problems = {}, []
    for role, found in candidates.items():
        wanted = choice.get(role, "").strip("/")
        fitting = [wanted] if wanted in found else [path for path in found if wanted in path]
        if len(fitting) == 1:
            chosen[role] = fitting[0]
        elif found and (fitting or wanted):
            asked = f" (choose[{role!r}] is {wanted!r}, which fits {len(fitting) or 'none'})" if wanted else ""
            problems.append(f"{role}: {len(found)} candidates{asked}\n" + "\n".join(f"    {t}" for t in found.values()))
        elif roles.get(role) == "required" or wanted:
            problems.append(f"{role}: none was found")
    return chosen, problems


def _several(where: str, problems: Sequence[str]) -> str:
    listed = "\n".join(f"  {problem}" for problem in problems)
    return (
        f"{where} does not tell which files make the model:\n{listed}\n"
        "Where there are several candidates, choose one by its path, or by a part that no other has: "
        "xappa.fetch(..., choose={'denoiser': '...'}). It is kept for later calls."
    )


def _above(folder: str) -> Iterator[str]:
    yield from ("" if str(p) == "." else str(p) for p in PurePosixPath(folder).parents)


def _unique(files: Sequence[RemoteFile]) -> tuple[RemoteFile, ...]:
    return tuple(dict.fromkeys(files))
