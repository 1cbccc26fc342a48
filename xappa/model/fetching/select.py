"""Selection of the files of a repository that make a model, by their contents: names of runs are the authors' own.

Each folder with a ``config.yaml`` beside weights is a run: of an autoencoder where the configuration has ``ae``, of a
denoiser where it has ``backbone``. The latents that a denoiser was trained on are described by ``stats.pth`` in the
nearest folder above it, and the autoencoder that made them lies beside that file in ``ae``, or above. Statistics and
masks are the Zarr stores with those variables. Nothing else is taken; above all not the latents themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

from xappa.errors import ModelError, OptionError
from xappa.model.fetching.identity import RemoteFile
from xappa.model.fetching.space import format_megabytes

CONFIG = "config.yaml"
LATENTS = "stats.pth"
LONGEST_CONFIG = 2**20
STORES = {"statistics": ("statistic", "stats"), "masks": ("sea_surface_temperature_mask", "masks")}
WEIGHTS = {
    "last": ("model.pth", "model_last.pth", "model_best.pth"),
    "best": ("model.pth", "model_best.pth", "model_last.pth"),
}
CHOICES = ("denoiser", "autoencoder", *STORES, "weights")

Read = Callable[[RemoteFile], bytes]
Listing = Mapping[str, Mapping[str, RemoteFile]]


@dataclass(frozen=True)
class Selection:
    """Files that are needed, and the reason."""

    files: dict[str, tuple[RemoteFile, ...]]  # by role
    choice: dict[str, str]  # folder by role; "weights": "last" or "best"


def check_choice(choice: Mapping[str, str] | None) -> dict[str, str]:
    """The choice as a dict; OptionError if it names something that cannot be chosen."""
    made = dict(choice or {})
    if unknown := [key for key in made if key not in CHOICES]:
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
    listing: dict[str, dict[str, RemoteFile]] = {}
    for file in tree:
        folder, _, name = file.path.rpartition("/")
        listing.setdefault(folder, {})[name] = file
    listing = dict(sorted(listing.items()))
    weights = WEIGHTS[choice.get("weights", "last")]
    weighty = [folder for folder, files in listing.items() if CONFIG in files and not files.keys().isdisjoint(weights)]
    asked = dict.fromkeys([*weighty, *(above for folder in weighty for above in _list_parents(folder))])
    configs = {f: _inspect_config(listing[f][CONFIG], read) for f in asked if CONFIG in listing.get(f, {})}
    runs = {
        kind: {f: _describe_candidate(f, *configs[f], listing[f]) for f in weighty if configs[f][0] == kind}
        for kind in KINDS
    }
    candidates = {"denoiser": runs["denoiser"]} | {role: _find_stores(listing, role) for role in STORES}
    chosen = _choose_candidates(candidates, choice, roles, where)

    denoiser = chosen["denoiser"]
    latents = next((folder for folder in _list_parents(denoiser) if LATENTS in listing.get(folder, {})), None)
    near = ([f"{latents}/ae".lstrip("/")] if latents is not None else []) + _list_parents(denoiser)
    encoders = runs["autoencoder"]
    made_by = next((folder for folder in near if folder in encoders), None)
    if made_by is not None and "autoencoder" not in choice:
        encoders = {made_by: encoders[made_by]}
    lacking = [] if latents is not None else [f"latents: none of the folders above {denoiser} has {LATENTS}"]
    chosen |= _choose_candidates({"autoencoder": encoders}, choice, roles, where, lacking)

    def of_run(folder: str) -> list[RemoteFile]:
        return [listing[folder][CONFIG], next(listing[folder][name] for name in weights if name in listing[folder])]

    # A loader that starts from the denoiser looks for the autoencoder's configuration in the folders above it.
    above = [listing[f][CONFIG] for f in _list_parents(denoiser) if configs.get(f, ("", ""))[0] == "autoencoder"]
    files = {
        "autoencoder": tuple(dict.fromkeys([*of_run(chosen["autoencoder"]), *above])),
        "latents": (listing[latents or ""][LATENTS],),
        "denoiser": tuple(of_run(denoiser)),
        **{r: tuple(f for f in tree if f.path.startswith(chosen[r] + "/")) for r in STORES if r in chosen},
        "notes": tuple(f for name, f in listing.get("", {}).items() if name.lower().startswith(("readme", "licen"))),
    }
    return Selection(files, chosen | {"weights": choice.get("weights", "last")})


KINDS = {"denoiser": "backbone", "autoencoder": "ae"}
"""Section of a configuration that tells what a run is of."""


def _inspect_config(file: RemoteFile, read: Read) -> tuple[str, str]:
    """What a configuration is of, and its name. Tags of other languages are not constructed, only passed over."""
    try:
        node = yaml.compose(read(file).decode(), Loader=yaml.SafeLoader) if file.size <= LONGEST_CONFIG else None
    except (yaml.YAMLError, UnicodeDecodeError):
        node = None
    sections = _to_mapping(node)
    for kind, section in KINDS.items():
        if section in sections:
            return kind, str(getattr(_to_mapping(sections[section]).get("name"), "value", ""))
    return "", ""


def _to_mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {k.value: v for k, v in node.value} if isinstance(node, yaml.MappingNode) else {}


def _describe_candidate(folder: str, kind: str, name: str, files: Mapping[str, RemoteFile]) -> str:
    sizes = [format_megabytes(file.size) for path, file in files.items() if path.endswith(".pth")]
    return f"{folder}  ({name or 'no name'}, {', '.join(sizes)})"


def _find_stores(listing: Listing, role: str) -> dict[str, str]:
    """Zarr stores that have the variable of a role, or else its name."""
    variable, prefix = STORES[role]
    members: dict[str, set[str]] = {}
    for folder in listing:
        parts = PurePosixPath(folder).parts
        depth = next((k for k, part in enumerate(parts, 1) if part.endswith(".zarr")), 0)
        if depth:
            members.setdefault("/".join(parts[:depth]), set()).update(parts[depth : depth + 1])
    having = [store for store, variables in members.items() if variable in variables]
    named = [store for store in members if PurePosixPath(store).name.startswith(prefix)]
    return {store: store for store in having or named}


def _choose_candidates(
    candidates: Mapping[str, Mapping[str, str]],
    choice: Mapping[str, str],
    roles: Mapping[str, str],
    where: str,
    problems: list[str] | None = None,
) -> dict[str, str]:
    """One of the candidates (descriptions by path) of each role; ModelError that lists all `problems`."""
    chosen, problems = {}, list(problems or [])
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
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ModelError(
            f"{where} does not tell which files make the model:\n{listed}\n"
            "Where there are several candidates, choose one by its path, or by a part that no other has: "
            "xappa.fetch(..., choose={'denoiser': '...'}). It is kept for later calls."
        )
    return chosen


def _list_parents(folder: str) -> list[str]:
    return ["" if str(p) == "." else str(p) for p in PurePosixPath(folder).parents]
