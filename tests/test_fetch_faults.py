"""Servers, mirrors and files that are faulty: what passes by itself, and what is said of the rest."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from pathlib import Path

import pytest

import xappa
from tests.hub_server import Fault
from tests.released_model import (
    FIRST,
    NAME,
    NEEDED,
    QUIET,
    WEIGHTS,
    fetch,
    held,
    hub_with_one_commit,
    noise,
    project,
    same,
)
from xappa.errors import DownloadError, IntegrityError, ModelError
from xappa.model.fetching import http
from xappa.model.fetching.lock import NAME as LOCK

pytestmark = pytest.mark.filterwarnings(QUIET)

hub = pytest.fixture(hub_with_one_commit)


class TestFaults:
    def test_not_there(self, hub):
        hub.faults = [Fault("model_last", "status", value=404)]
        with pytest.raises(DownloadError, match=rf"{WEIGHTS}: the server answered 404.*complete mirror"):
            fetch()
        assert len(hub.asked(WEIGHTS)) == 1

    def test_errors_of_the_server_pass(self, hub):
        hub.faults = [
            Fault("model_last", "status", 2, 500),
            Fault("/tree/", "status", 1, 503),
            Fault(".zgroup", "status", 1, 429),
        ]
        assert held(fetch()) == NEEDED
        assert len(hub.asked(WEIGHTS)) == 3

    def test_or_do_not(self, hub):
        hub.faults = [Fault("model_last", "status", value=500)]
        with pytest.raises(DownloadError, match=rf"{WEIGHTS}: the server answered 500.*5 attempts.*XAPPA_MIRROR"):
            fetch()

    def test_pauses_grow_and_follow_the_server(self, monkeypatch):
        pauses, failures = [], iter([http.TransientError("a"), http.TransientError("b"), http.TransientError("c", 7.0)])
        monkeypatch.setattr(http, "PAUSE", 1.0)
        monkeypatch.setattr(http.time, "sleep", pauses.append)

        def action() -> str:
            for failure in failures:
                raise failure
            return "done"

        assert http.retry_transient(action, "") == "done"
        assert pauses == [1.0, 2.0, 7.0]

    def test_attempts_that_come_further_are_not_counted(self, hub):
        done = itertools.count(1)
        far = 0

        def action() -> str:
            nonlocal far
            far = next(done)
            if far < 4 * http.TRIES:
                raise http.TransientError("broke")
            return "done"

        assert http.retry_transient(action, "", lambda: far) == "done"

    def test_a_copy_that_lacks_its_end(self, hub):
        hub.faults = [Fault("model_last", "truncate", value=1000)]
        with pytest.raises(IntegrityError) as caught:
            fetch()
        text = str(caught.value)
        assert WEIGHTS in text
        assert f"expected 600000 bytes with sha256 {hashlib.sha256(project()[WEIGHTS]).hexdigest()}" in text
        assert "found 599000 bytes" in text
        assert "Fetch again" in text
        (folder,) = (Path(os.environ["XAPPA_CACHE"]) / NAME).glob("*/")
        assert not (folder / WEIGHTS).exists()
        hub.faults = []
        assert same(fetch(), project())

    @pytest.mark.parametrize("name", [WEIGHTS, "2m_temperature/.zarray"], ids=["sha256", "git blob id"])
    def test_wrong_bytes(self, hub, name, request):
        hub.faults = [Fault(name, "bytes")]
        contents = next(contents for path, contents in project().items() if path.endswith(name) and "era5" not in path)
        digests = {
            "sha256": hashlib.sha256(contents).hexdigest(),
            "git blob id": hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest(),
        }
        kind = request.node.callspec.id
        with pytest.raises(
            IntegrityError, match=rf"{name}: expected .*{kind} {digests[kind]}, found .*{kind} [0-9a-f]+"
        ):
            fetch()
        assert len(hub.asked(name)) == 2, "once may be an accident"
        hub.faults = [Fault(name, "bytes", 1)]
        assert same(fetch(), project())

    @pytest.mark.parametrize("kind", ["reset", "short"])
    def test_a_connection_that_breaks_goes_on_where_it_was(self, hub, kind):
        hub.faults = [Fault("model_last", kind, 3)]
        assert same(fetch(), project())
        asked = hub.asked(WEIGHTS)
        assert len(asked) == 4
        assert all("If-Range" in headers and "Range" in headers for headers in asked[1:])
        assert hub.sent[WEIGHTS] < 1.3 * 600_000

    def test_a_server_without_ranges(self, hub):
        hub.faults = [Fault("model_last", "norange"), Fault("model_last", "short", 2)]
        assert same(fetch(), project())
        assert hub.sent[WEIGHTS] == 2.2 * 600_000
        hub.faults = []

    def test_a_server_without_ranges_that_never_ends(self, hub):
        hub.faults = [Fault("model_last", "norange"), Fault("model_last", "short")]
        with pytest.raises(DownloadError, match="broke .*, [1-9][0-9]* bytes in .*5 attempts"):
            fetch()

    def test_another_entity_tag_begins_anew(self, hub):
        hub.faults = [Fault("model_last", "tag"), Fault("model_last", "short", 1)]
        assert same(fetch(), project())
        assert hub.sent[WEIGHTS] == 1.6 * 600_000

    @pytest.mark.parametrize("kind", ["html", "status"])
    def test_a_mirror_without_the_api(self, hub, kind):
        hub.faults = [Fault("/api/", kind, value=404)]
        with pytest.raises(DownloadError, match=r"/api/datasets/montefiore-sail/appa/revision/main"):
            fetch()

    def test_a_lock_file_stands_in_for_the_api(self, hub, tmp_path):
        lock = (fetch() / LOCK).read_text()
        hub.faults = [Fault("/api/", "status", value=404)]
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / LOCK).write_text(lock)
        assert held(fetch(path=tmp_path / "new")) == NEEDED

    def test_a_listing_that_leads_out_of_the_folder(self, hub, tmp_path):
        for name in ("../../evil.md", "/evil.md", "a\\evil.md"):
            hub.commits[FIRST] = project() | {name: b"evil"}
            with pytest.raises(DownloadError, match="leads out of the folder"):
                fetch()
        assert not list(tmp_path.rglob("evil*"))

    def test_a_mirror_that_is_no_address(self, hub, monkeypatch):
        monkeypatch.setenv("XAPPA_MIRROR", "mirror.example")
        with pytest.raises(DownloadError, match="XAPPA_MIRROR is 'mirror.example'; expected an address"):
            fetch()

    def test_a_file_that_changed_in_the_cache(self, hub):
        folder = fetch()
        with open(folder / WEIGHTS, "r+b") as file:
            file.truncate(1000)
        (folder / "README.md").write_bytes(b"# weights\n")
        with pytest.warns(UserWarning) as told:
            assert same(fetch(), project())
        texts = [str(warning.message) for warning in told]
        assert any(re.search(rf"{WEIGHTS}: expected 600000 bytes .*found 1000 bytes", text) for text in texts)
        assert any("README.md: expected" in text for text in texts)

    def test_a_file_that_changed_in_the_cache_is_not_loaded_offline(self, hub):
        (fetch() / WEIGHTS).write_bytes(noise("other", 600_000))
        hub.stop()
        with pytest.raises(DownloadError), pytest.warns(UserWarning, match=f"{WEIGHTS}: expected"):
            xappa.load(NAME)

    def test_a_lock_file_that_is_none(self, hub):
        lock = fetch() / LOCK
        lock.write_text(lock.read_text()[:100])
        with pytest.raises(ModelError, match=f"{LOCK} cannot be read as a lock file.*Delete it"):
            fetch()
        assert "cannot be read as a lock file" in xappa.models()[NAME]


class TestBounds:
    def test_an_answer_without_end_is_not_taken_into_memory(self, hub, monkeypatch):
        monkeypatch.setattr(http, "LARGEST", 200)
        with pytest.raises(DownloadError, match="more than 200 bytes"):
            fetch()

    def test_a_listing_without_end_is_refused(self, hub, monkeypatch):
        monkeypatch.setattr("xappa.model.fetching.hub.MOST_PAGES", 1)
        with pytest.raises(DownloadError, match="lists more than 1 pages"):
            fetch()
