"""Folders of the revisions of a model's weights: one each, and one that is the default."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xappa._files import replace_atomically, write_text
from xappa.errors import ModelError
from xappa.model.fetching.identity import RemoteFile, describe_difference
from xappa.model.fetching.lock import SHORTEST, LockFile, read_lock

PINNED = "pinned"
UPSTREAM = ".xappa-upstream.json"


@dataclass(frozen=True)
class Pool:
    """Folders of weights."""

    root: Path  # holds a folder for each revision and choice; or the files themselves, if `single`
    single: bool = False  # whether the root is a folder that the user named, for one revision

    def find(self, revision: str | None, choice: Mapping[str, str]) -> tuple[Path, LockFile] | None:
        """Folder and lock file of what is asked for, without asking anybody; None where there is none.

        Raises
        ------
        ModelError
            If the folder that the user named holds something else.
        """
        held = list(self._list_locks())
        fitting = [(folder, lock) for folder, lock in held if lock.matches(revision, choice)]
        if fitting and (self.single or revision is not None or choice):
            return fitting[0]
        if self.single and held and (choice or _is_hash(revision)):
            raise ModelError(
                f"{self.root} holds revision {held[0][1].revision} with {held[0][1].choice}; asked for were revision "
                f"{revision or 'of any kind'} and {dict(choice) or 'no choice'}. Name another folder."
            )
        return next(((f, lock) for f, lock in fitting if f.name == self.pinned), None)

    def find_by_name(self, asked: str) -> tuple[Path, LockFile] | None:
        """The newest folder that was fetched by the name of a branch or tag."""
        return next(((folder, lock) for folder, lock in self._list_locks() if lock.asked == asked), None)

    def get_folder(self, revision: str, choice: Mapping[str, str]) -> Path:
        """Folder of a revision's files."""
        key = json.dumps(sorted(choice.items())).encode()
        extra = f"-{hashlib.sha256(key).hexdigest()[:8]}" if choice else ""
        return self.root if self.single else self.root / (revision[:12] + extra)

    @property
    def pinned(self) -> str:
        """Name of the folder that is meant where no revision is named, or nothing."""
        path = self.root / PINNED
        return path.read_text().strip() if path.exists() else ""

    def pin(self, folder: Path) -> None:
        """Let `folder` be meant where no revision is named."""
        if not self.single and self.pinned != folder.name:
            write_text(self.root / PINNED, f"{folder.name}\n")

    def link_existing(self, folder: Path, files: list[RemoteFile]) -> None:
        """Take what another revision's folder already has."""
        for other, lock in () if self.single else self._list_locks():
            same = {(file.kind, file.digest, file.size): file.path for file in lock.all_files}
            for file in files if other != folder else ():
                path = same.get((file.kind, file.digest, file.size))
                if (
                    path
                    and describe_difference(folder / file.path, file)
                    and not describe_difference(other / path, file)
                ):
                    link(other / path, folder / file.path)

    def record_upstream(self, revision: str) -> None:
        """Remember what the repository's newest revision was when it was last asked."""
        if self.upstream != revision:
            write_text(self.root / UPSTREAM, json.dumps({"revision": revision}) + "\n")

    @property
    def upstream(self) -> str:
        """Record of `record_upstream`, or nothing."""
        path = self.root / UPSTREAM
        return json.loads(path.read_text())["revision"] if path.exists() else ""

    def _list_locks(self) -> Iterator[tuple[Path, LockFile]]:
        """Folders with a lock file: the one that is meant by default, then the newest."""
        found = [self.root] if self.single else self.root.glob("*")
        pinned = self.pinned
        for folder in sorted(filter(Path.is_dir, found), key=lambda path: (path.name != pinned, -path.stat().st_mtime)):
            if lock := read_lock(folder):
                yield folder, lock


def _is_hash(revision: str | None) -> bool:
    return revision is not None and len(revision) >= SHORTEST and not set(revision.lower()) - set("0123456789abcdef")


def link(source: Path, target: Path) -> None:
    """The same file in another place, taking no room where the file system can do that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(target) as part:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
