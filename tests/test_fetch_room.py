"""Disks without room for released weights, and folders that cannot be written."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections import namedtuple

import pytest

from tests.released_model import QUIET, WEIGHTS, fetch, hub_with_one_commit, project, same
from xappa.errors import DownloadError
from xappa.model.fetching import download

pytestmark = pytest.mark.filterwarnings(QUIET)

hub = pytest.fixture(hub_with_one_commit)


class TestRoom:
    def test_too_little_before_anything_is_downloaded(self, hub, monkeypatch):
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 500_000))
        with pytest.raises(
            DownloadError, match=r"not enough room in .*0\.9 MB are still needed, 0\.5 MB are free.*path="
        ):
            fetch()
        assert not hub.asked(WEIGHTS)

    def test_the_disk_fills_while_writing(self, hub, monkeypatch, tmp_path):
        class Full(io.FileIO):
            def write(self, data) -> int:
                if self.tell() + len(data) > 200_000:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return super().write(data)

        with monkeypatch.context() as patch:
            patch.setattr(download, "CHUNK", 50_000)
            patch.setattr(download, "open", Full, raising=False)
            with pytest.raises(DownloadError, match="not enough room in .*No space left.*goes on from what is there"):
                fetch()
        assert sum(part.stat().st_size for part in tmp_path.rglob("*.part")) == 200_000
        hub.requests.clear()
        assert same(fetch(), project())
        assert [headers["Range"] for _, headers in hub.requests if "Range" in headers] == ["bytes=200000-"]

    def test_a_folder_that_cannot_be_written(self, hub, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DownloadError, match="cannot be written"):
            fetch(path=tmp_path / "file" / "below")
