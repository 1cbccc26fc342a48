"""Released weights that were fetched are used without asking anybody."""

from __future__ import annotations

import shutil

import pytest

import xappa
from tests.released_model import FIRST, NAME, QUIET, fetch, hub_with_one_commit
from xappa.errors import DownloadError
from xappa.model import registry
from xappa.model.fetching import released

pytestmark = pytest.mark.filterwarnings(QUIET)

hub = pytest.fixture(hub_with_one_commit)


class TestOffline:
    def test_a_second_time(self, hub):
        folder = fetch()
        hub.stop()
        assert fetch() == folder == fetch(revision=FIRST)

    def test_loading_asks_nobody(self, hub):
        folder = fetch()
        hub.requests.clear()
        assert registry._fetch(registry.read_registry()[NAME], explicit=False) == folder
        assert not hub.requests

    def test_a_cache_that_others_keep_is_only_read(self, hub, monkeypatch):
        folder = fetch()
        for name in ("lock_folder", "write_lock"):
            monkeypatch.setattr(released, name, lambda *_: pytest.fail("writes"))
        monkeypatch.setattr(released.Pool, "record_upstream", lambda *_: (_ for _ in ()).throw(PermissionError("no")))
        assert fetch() == folder

    def test_nothing_was_fetched(self, hub):
        hub.stop()
        with pytest.raises(DownloadError, match=r"connection failed.*5 attempts.*XAPPA_MIRROR"):
            fetch()
        assert "not fetched yet" in xappa.models()[NAME]

    def test_a_folder_that_was_copied(self, hub, tmp_path):
        shutil.copytree(fetch(), tmp_path / "copy")
        hub.stop()
        assert fetch(path=tmp_path / "copy") == tmp_path / "copy"
