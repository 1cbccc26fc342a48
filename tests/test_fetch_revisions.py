"""Revisions of released weights: pinned by a lock file, changed on demand only."""

from __future__ import annotations

import hashlib
import warnings

import pytest

import xappa
from tests.hub_server import REPOSITORY, FakeHub, Fault
from tests.released_model import (
    CONFIGS,
    FIRST,
    NAME,
    NEEDED,
    QUIET,
    SECOND,
    WEIGHTS,
    fetch,
    held,
    hub_with_one_commit,
    noise,
    project,
    same,
)
from xappa.errors import DownloadError, OptionError
from xappa.model import registry
from xappa.model.fetching.lock import read_lock

pytestmark = pytest.mark.filterwarnings(QUIET)

hub = pytest.fixture(hub_with_one_commit)


class TestRevisions:
    def newer(self, hub: FakeHub) -> None:
        hub.commits[SECOND] = project() | {"README.md": b"# Better weights\n", WEIGHTS: noise("newer", 600_000)}
        hub.branches["main"] = SECOND

    def test_the_lock_file_says_what_there_is(self, hub):
        lock = read_lock(fetch())
        assert (lock.name, lock.repository, lock.revision, lock.asked) == (NAME, REPOSITORY, FIRST, "main")
        assert {file.path for file in lock.all_files} == NEEDED
        by_path = {file.path: file for file in lock.all_files}
        assert by_path[WEIGHTS].digest == hashlib.sha256(project()[WEIGHTS]).hexdigest()
        assert by_path["README.md"].kind == "git"
        assert f"revision {FIRST[:12]}, fetched" in xappa.models()[NAME]

    def test_a_change_is_reported_and_not_taken(self, hub):
        folder = fetch()
        self.newer(hub)
        with pytest.warns(UserWarning, match=rf"changed: its newest revision is {SECOND}. Used is still {FIRST}"):
            assert fetch() == folder
        assert same(folder, project())
        assert f"a newer one, {SECOND[:12]}" in xappa.models()[NAME]

    def test_a_change_is_reported_when_an_interrupted_fetch_goes_on(self, hub):
        hub.faults = [Fault("model_last", "status", value=404)]
        with pytest.raises(DownloadError):
            fetch()
        hub.faults = []
        self.newer(hub)
        with pytest.warns(UserWarning, match="has changed"):
            assert same(fetch(), project())

    @pytest.mark.parametrize("asked", ["main", SECOND, SECOND[:8]])
    def test_the_change_is_taken_on_demand_and_only_it_is_downloaded(self, hub, asked):
        folder = fetch()
        self.newer(hub)
        hub.sent.clear()
        newer = fetch(revision=asked)
        assert newer != folder
        assert same(newer, hub.commits[SECOND])
        assert held(newer) == NEEDED
        assert {name for name, size in hub.sent.items() if size and name} <= {WEIGHTS, "README.md"} | CONFIGS
        assert same(folder, project())
        assert fetch() == newer
        assert fetch(revision=FIRST) == folder == fetch()

    def test_a_revision_is_pinned_before_anything_was_fetched(self, hub):
        self.newer(hub)
        folder = fetch(revision=FIRST[:10])
        assert same(folder, project())
        assert registry._fetch(registry.read_registry()[NAME], explicit=False) == folder

    def test_a_branch_offline_is_what_it_was(self, hub):
        folder = fetch()
        hub.stop()
        with pytest.warns(UserWarning, match="'main' is taken as it was"):
            assert fetch(revision="main") == folder

    def test_no_such_revision(self, hub):
        with pytest.raises(DownloadError, match=r"revision/v9: the server answered 404.*Invalid rev id.*revision"):
            fetch(revision="v9")

    def test_the_licence_is_shown_at_the_first_fetch_only(self, hub):
        with pytest.warns(UserWarning, match="none is stated by the authors as far as we know; ask them") as told:
            fetch()
        assert FIRST in str(told[0].message)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fetch()

    def test_a_licence_that_the_card_states(self, hub):
        hub.licence = "cc-by-4.0"
        with pytest.warns(UserWarning, match="'cc-by-4.0', by the repository's card"):
            fetch()


def test_other_models_have_no_revisions():
    with pytest.raises(OptionError, match="'speedy' has neither revisions nor runs, and comes with the package"):
        xappa.fetch("speedy", revision="main")
