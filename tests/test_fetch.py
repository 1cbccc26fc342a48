"""Released weights are fetched whole, once, and right, whatever the server and the disk do."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xappa
from tests.hub_server import REPOSITORY, FakeHub, Fault, sha
from xappa.errors import DownloadError, IntegrityError, ModelError, OptionError, XappaError
from xappa.models import registry
from xappa.models.fetching import download, http, released
from xappa.models.fetching.download import ResumingDownloader
from xappa.models.fetching.identity import RemoteFile, difference
from xappa.models.fetching.lock import NAME as LOCK
from xappa.models.fetching.lock import read_lock

NAME = "appa-0p25"
FIRST, SECOND = sha("first"), sha("second")
ROOT = Path(__file__).resolve().parents[1]
RUN = "autoencoders/one/0"
DUMP = f"{RUN}/latents/two"
LAP = f"{DUMP}/denoisers/three/4"
WEIGHTS = f"{LAP}/model_last.pth"
AE = b"ae:\n  name: cae_f32c6\npath: !!python/object/apply:pathlib.PosixPath\n- /\n- tmp\n"
VIT = b"backbone:\n  name: vit_tiny\n"

pytestmark = pytest.mark.filterwarnings("ignore:Fetching appa-0p25:UserWarning")


def noise(name: str, size: int) -> bytes:
    return np.random.default_rng(list(name.encode())).bytes(size)


def project() -> dict[str, bytes]:
    """An official project, with all that is not needed beside what is."""
    large = {
        f"{RUN}/model_best.pth": 300_000,
        f"{RUN}/model_last.pth": 300_000,
        f"{DUMP}/ae/model.pth": 300_000,
        f"{DUMP}/stats.pth": 1_800,
        f"{DUMP}/era5.h5": 2_000_000,
        f"{LAP}/model_best.pth": 600_000,
        WEIGHTS: 600_000,
        f"{LAP}/optimizer_last.pth": 600_000,
        "data/era5_1993.zarr/2m_temperature/0.0": 50_000,
        "data/stats_1993.zarr/2m_temperature/0": 24,
        "data/masks_1993.zarr/sea_surface_temperature_mask/0.0": 400,
    }
    small = {
        ".gitattributes": b"*.pth filter=lfs\n",
        "README.md": b"# Weights\n",
        f"{RUN}/config.yaml": AE,
        f"{DUMP}/ae/config.yaml": AE,
        f"{LAP}/config.yaml": VIT,
        f"{LAP}/reanalysis/x/config.yaml": b"experiment: true\n",
        "data/era5_1993.zarr/.zgroup": b"{}",
        "data/era5_1993.zarr/time/.zarray": b"{}",
        "data/era5_1993.zarr/land_sea_mask/.zarray": b"{}",
        "data/stats_1993.zarr/.zgroup": b"{}",
        "data/stats_1993.zarr/statistic/.zarray": b"{}",
        "data/stats_1993.zarr/2m_temperature/.zarray": b"{ }",
        "data/masks_1993.zarr/sea_surface_temperature_mask/.zarray": b"{}",
    }
    return {name: noise(name, size) for name, size in large.items()} | small


NEEDED = {
    "README.md",
    f"{RUN}/config.yaml",
    f"{DUMP}/ae/config.yaml",
    f"{DUMP}/ae/model.pth",
    f"{DUMP}/stats.pth",
    f"{LAP}/config.yaml",
    WEIGHTS,
    *(name for name in project() if "stats_1993.zarr" in name or "masks_1993.zarr" in name),
}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with one commit, an empty cache, and no pauses."""
    hub = FakeHub({FIRST: project()}, {"main": FIRST}).start()
    monkeypatch.setenv("XAPPA_MIRROR", hub.url)
    monkeypatch.setenv("XAPPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(http, "PAUSE", 0.0)
    yield hub
    hub.stop()


def fetch(**options) -> Path:
    return xappa.fetch(NAME, progress=False, **options)


def held(folder: Path) -> set[str]:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in files if name != LOCK and not name.startswith(".xappa")}


def same(folder: Path, contents: dict[str, bytes]) -> bool:
    return all((folder / name).read_bytes() == contents[name] for name in held(folder))


def started(code: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class TestWhatIsFetched:
    def test_what_the_model_needs_in_its_layout_and_nothing_else(self, hub):
        folder = fetch()
        assert held(folder) == NEEDED
        assert same(folder, project())
        assert not any(hub.asked(text) for text in ("era5.h5", "era5_1993", "optimizer", "model_best", "reanalysis"))

    def test_a_page_after_the_other_from_the_mirror_itself(self, hub):
        fetch()
        assert len(hub.asked("/tree/")) == -(-len(hub.entries(FIRST)) // hub.page) > 3

    def test_a_listing_that_goes_in_circles(self, hub, monkeypatch):
        page = hub.entries(FIRST)[:1]
        body = json.dumps(page).encode()
        link = {"Link": '<https://x.invalid/?recursive=true>; rel="next"'}
        monkeypatch.setattr(
            hub, "api", lambda r, what, *_: hub.send(r, 200, body, link) if what == "tree" else real(r, what, *_)
        )
        real = FakeHub.api.__get__(hub)
        with pytest.raises(DownloadError, match="repeats a page"):
            fetch()

    def test_the_best_checkpoint_on_demand(self, hub):
        names = held(fetch(choose={"weights": "best"}))
        assert f"{LAP}/model_best.pth" in names
        assert WEIGHTS not in names

    def test_the_only_checkpoint_there_is(self, hub):
        del hub.commits[FIRST][WEIGHTS]
        assert f"{LAP}/model_best.pth" in held(fetch())

    def test_an_autoencoder_that_lies_in_its_run_alone(self, hub):
        for name in ("config.yaml", "model.pth"):
            del hub.commits[FIRST][f"{DUMP}/ae/{name}"]
        assert {n for n in held(fetch()) if "/latents/" not in n and n.startswith(RUN)} == {
            f"{RUN}/config.yaml",
            f"{RUN}/model_last.pth",
        }

    def test_masks_may_be_absent_and_statistics_may_not(self, hub):
        hub.commits[FIRST] = {n: c for n, c in project().items() if "masks_" not in n}
        assert held(fetch()) == {n for n in NEEDED if "masks_" not in n}

    def test_all_that_is_absent_is_said_at_once(self, hub):
        hub.commits[FIRST] = {n: c for n, c in project().items() if "stats_" not in n and "denoisers" not in n}
        with pytest.raises(ModelError, match=rf"{FIRST}[\s\S]*denoiser: none[\s\S]*statistics: none"):
            fetch()

    def test_the_same_contents_are_asked_for_once(self, hub):
        fetch()
        assert len([p for p in hub.paths if p.endswith((".zgroup", ".zarray"))]) == 2  # "{}" and "{ }"

    def test_the_recorded_run_directory(self, hub, shared):
        root = shared("fixtures/run_dir")
        files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        hub.commits[FIRST] = files
        folder = fetch()
        run = "autoencoders/tiny/0"
        dump = f"{run}/latents/tiny"
        assert held(folder) == {
            f"{run}/config.yaml",
            f"{dump}/ae/config.yaml",
            f"{dump}/ae/model.pth",
            f"{dump}/stats.pth",
            f"{dump}/denoisers/tiny/0/config.yaml",
            f"{dump}/denoisers/tiny/0/model_last.pth",
            *(name for name in files if name.startswith("data/stats_tiny.zarr/")),
        }
        assert same(folder, files)

    def test_load_fetches_what_loading_the_project_reads(self, hub, shared):
        root = shared("fixtures/run_dir")
        hub.commits[FIRST] = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        ours, theirs = xappa.load(NAME), xappa.load(root)
        assert type(ours) is type(theirs)
        assert ours.spec.channels == theirs.spec.channels
        for name, tensor in theirs.denoiser.state_dict().items():
            assert (ours.denoiser.state_dict()[name] == tensor).all()
        hub.stop()
        assert xappa.load(NAME) is ours


class TestSeveralCandidates:
    OTHER = f"{DUMP}/denoisers/five/0"

    @pytest.fixture(autouse=True)
    def two(self, hub):
        hub.commits[FIRST] |= {f"{self.OTHER}/config.yaml": VIT, f"{self.OTHER}/model_last.pth": noise("other", 999)}

    def test_are_listed(self, hub):
        with pytest.raises(ModelError) as caught:
            fetch()
        text = str(caught.value)
        assert f"{LAP}  (vit_tiny, 0.6 MB, 0.6 MB" in text
        assert self.OTHER in text
        assert "choose={'denoiser'" in text

    def test_one_is_chosen_and_remembered(self, hub):
        folder = fetch(choose={"denoiser": "five"})
        assert f"{self.OTHER}/model_last.pth" in held(folder)
        assert WEIGHTS not in held(folder)
        hub.stop()
        assert fetch() == folder == fetch(choose={"denoiser": self.OTHER})

    def test_another_one_later_shares_what_is_common(self, hub):
        first = fetch(choose={"denoiser": "five"})
        hub.sent.clear()
        second = fetch(choose={"denoiser": "three"})
        assert first != second
        assert WEIGHTS in held(second)
        assert not any("ae/model" in path for path, size in hub.sent.items() if size)
        assert fetch() == second

    def test_a_choice_that_fits_none_or_both(self, hub):
        for part, count in (("nine", "none"), ("denoisers", "2")):
            with pytest.raises(ModelError, match=f"fits {count}"):
                fetch(choose={"denoiser": part})

    def test_a_choice_stays_while_another_is_made(self, hub):
        fetch(choose={"denoiser": "three"})
        folder = fetch(choose={"weights": "best"})
        assert f"{LAP}/model_best.pth" in held(folder)
        assert not any(self.OTHER in name for name in held(folder))
        hub.commits[SECOND] = hub.commits[FIRST] | {"README.md": b"new"}
        assert held(fetch(revision=SECOND)) == held(folder)

    def test_a_checkpoint_that_is_loaded_once_is_not_the_default(self, hub):
        last = fetch(choose={"denoiser": "three"})
        entry = registry.registry()[NAME]
        best = registry._fetch(entry, choose={"weights": "best"}, progress=False, explicit=False)
        assert f"{LAP}/model_best.pth" in held(best)
        assert fetch() == last

    def test_other_roles_too_and_all_at_once(self, hub):
        hub.commits[FIRST]["data/older.zarr/statistic/.zarray"] = b"{}"
        with pytest.raises(ModelError, match=r"denoiser: 2[\s\S]*statistics: 2[\s\S]*older\.zarr"):
            fetch()
        chosen = fetch(choose={"denoiser": "five", "statistics": "older"})
        assert "data/older.zarr/statistic/.zarray" in held(chosen)

    def test_choices_that_are_none(self, hub):
        with pytest.raises(OptionError, match="'denoisr'.*'denoiser'"):
            fetch(choose={"denoisr": "five"})
        with pytest.raises(OptionError, match="'last' or 'best'"):
            fetch(choose={"weights": "first"})


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
        assert registry._fetch(registry.registry()[NAME], explicit=False) == folder

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


CONFIGS = {f"{RUN}/config.yaml", f"{DUMP}/ae/config.yaml", f"{LAP}/config.yaml"}


class TestOffline:
    def test_a_second_time(self, hub):
        folder = fetch()
        hub.stop()
        assert fetch() == folder == fetch(revision=FIRST)

    def test_loading_asks_nobody(self, hub):
        folder = fetch()
        hub.requests.clear()
        assert registry._fetch(registry.registry()[NAME], explicit=False) == folder
        assert not hub.requests

    def test_a_cache_that_others_keep_is_only_read(self, hub, monkeypatch):
        folder = fetch()
        for name in ("alone", "write_lock"):
            monkeypatch.setattr(released, name, lambda *_: pytest.fail("writes"))
        monkeypatch.setattr(released.Pool, "note_upstream", lambda *_: (_ for _ in ()).throw(PermissionError("no")))
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


class TestFolder:
    def test_files_that_are_there_are_kept(self, hub, tmp_path):
        for name in (WEIGHTS, f"{DUMP}/ae/model.pth"):
            (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / name).write_bytes(project()[name])
        folder = fetch(path=tmp_path / "mine")
        assert folder == tmp_path / "mine"
        assert held(folder) == NEEDED
        assert not hub.asked("/resolve/" + FIRST + "/" + WEIGHTS)
        assert not (tmp_path / "cache").exists()

    def test_one_revision_to_a_folder(self, hub, tmp_path):
        fetch(path=tmp_path / "mine")
        hub.commits[SECOND] = project()
        hub.branches["main"] = SECOND
        for asked in (SECOND, "main"):
            with pytest.raises(ModelError, match=f"holds revision {FIRST}"):
                fetch(path=tmp_path / "mine", revision=asked)


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
        pauses, failures = [], iter([http.Transient("a"), http.Transient("b"), http.Transient("c", 7.0)])
        monkeypatch.setattr(http, "PAUSE", 1.0)
        monkeypatch.setattr(http.time, "sleep", pauses.append)

        def action() -> str:
            for failure in failures:
                raise failure
            return "done"

        assert http.persistently(action, "") == "done"
        assert pauses == [1.0, 2.0, 7.0]

    def test_attempts_that_come_further_are_not_counted(self, hub):
        done = itertools.count(1)
        far = 0

        def action() -> str:
            nonlocal far
            far = next(done)
            if far < 4 * http.TRIES:
                raise http.Transient("broke")
            return "done"

        assert http.persistently(action, "", lambda: far) == "done"

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
        with pytest.raises(DownloadError, match="broke in .*[1-9][0-9]* bytes in.*5 attempts"):
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
        with pytest.raises(ModelError, match=f"{LOCK} is not a lock file.*Delete it"):
            fetch()
        assert "is not a lock file" in xappa.models()[NAME]


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
        hub.sent.clear()
        assert same(fetch(), project())
        assert sum(hub.sent[name] for name in NEEDED) <= sum(len(project()[name]) for name in NEEDED) - 200_000

    def test_a_folder_that_cannot_be_written(self, hub, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DownloadError, match="cannot be written"):
            fetch(path=tmp_path / "file" / "below")


class TestProcesses:
    CODE = f"import xappa; print(xappa.fetch({NAME!r}, progress=False))"

    @pytest.fixture
    def first(self, hub, tmp_path):
        """A process that has 60 % of a file, and gets no more until the gate opens."""
        hub.commits[FIRST][WEIGHTS] = noise("large", 3_000_000)
        hub.faults = [Fault("model_last", "hold", 1)]
        process = started(self.CODE)
        while not any(part.stat().st_size > 1_700_000 for part in (tmp_path / "cache").rglob("*.part")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        yield process
        process.kill()

    def test_two_at_once(self, hub, first):
        second = started(self.CODE)
        assert "waiting for it" in second.stdout.readline()
        hub.gate.set()
        answers = [process.communicate(timeout=120)[0] for process in (first, second)]
        assert [first.returncode, second.returncode] == [0, 0], answers
        assert len({answer.splitlines()[-1] for answer in answers}) == 1
        assert same(Path(answers[0].splitlines()[-1]), hub.commits[FIRST])
        assert hub.sent[WEIGHTS] == 3_000_000, "nothing is downloaded twice"

    def test_killed_in_the_middle_goes_on(self, hub, first, tmp_path):
        first.send_signal(signal.SIGKILL)
        assert first.wait(timeout=30) == -signal.SIGKILL
        assert not list((tmp_path / "cache").rglob("model_last.pth")), "half a file is nowhere to be loaded"
        digest = hashlib.sha256(hub.commits[FIRST][WEIGHTS]).hexdigest()
        (part,) = (tmp_path / "cache").rglob(f"{digest}.part")
        arrived = part.stat().st_size
        before = hub.sent[WEIGHTS]
        folder = fetch()
        assert same(folder, hub.commits[FIRST])
        assert hub.sent[WEIGHTS] - before == 3_000_000 - arrived < 1_300_000
        assert held(folder) == NEEDED, "nothing is left behind"

    def test_the_second_goes_on_where_the_first_was_killed(self, hub, first):
        second = started(self.CODE)
        assert "waiting for it" in second.stdout.readline()
        first.kill()
        answer = second.communicate(timeout=120)[0]
        assert second.returncode == 0, answer
        assert same(Path(answer.splitlines()[-1]), hub.commits[FIRST])
        assert "Range" in hub.asked(WEIGHTS)[-1]

    def test_without_torch(self, hub):
        process = started(self.CODE + "; import sys; print('torch' in sys.modules)")
        answer = process.communicate(timeout=120)[0]
        assert answer.splitlines()[-1] == "False", answer


def test_progress(hub, capfd):
    xappa.fetch(NAME, progress=True)
    shown = capfd.readouterr().err
    assert f"{NAME} {FIRST[:12]} model_last.pth" in shown
    assert re.search(r"\d+k/9\d\dk", shown)
    assert "Downloading" not in shown


def test_other_models_have_no_revisions():
    with pytest.raises(OptionError, match="'speedy' has neither revisions nor runs, and comes with the package"):
        xappa.fetch("speedy", revision="main")


@pytest.mark.parametrize("contents", [b"", b"hello\n", noise("x", 5000)])
def test_identities_are_those_of_git(tmp_path, contents):
    path = tmp_path / "file"
    path.write_bytes(contents)
    git = shutil.which("git")
    if not git:
        pytest.skip("git is not installed")
    digest = subprocess.run([git, "hash-object", str(path)], capture_output=True, text=True, check=True).stdout.strip()
    assert difference(path, RemoteFile("file", len(contents), "git", digest)) is None
    assert difference(path, RemoteFile("file", len(contents), "git", sha("x"))) is not None


FAULTS = st.lists(
    st.builds(
        Fault,
        text=st.just("file"),
        kind=st.sampled_from(["status", "reset", "short", "truncate", "bytes", "norange", "tag"]),
        times=st.integers(1, 3),
        value=st.sampled_from([500, 404]),
    ),
    max_size=4,
)
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def plain():
    hub = FakeHub({FIRST: {}}, {"main": FIRST}).start()
    yield hub
    hub.stop()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 5000),
    before=st.none() | st.tuples(st.floats(0, 1.5), st.booleans(), st.booleans()),
    faults=FAULTS,
)
def test_a_file_arrives_exactly_or_not_at_all(plain, tmp_path, monkeypatch, size, before, faults):
    """Whatever lies there already, and whatever the server does."""
    monkeypatch.setattr(http, "PAUSE", 0.0)
    contents = noise("file", size + 600)
    plain.commits[FIRST] = {"file": contents}
    plain.faults = faults
    file = RemoteFile("file", len(contents), "sha256", hashlib.sha256(contents).hexdigest())
    part, out = tmp_path / f"{next(NUMBERS)}.part", tmp_path / f"{next(NUMBERS)}.out"
    if before:
        share, right, tagged = before
        length = int(share * len(contents))
        part.write_bytes((contents + b"more" * 1000)[:length] if right else noise("wrong", length))
        if tagged:
            Path(f"{part}.etag").write_text(f'"{hashlib.md5(contents).hexdigest()}"')
    told: list[int] = []
    try:
        with http.new_session() as session:
            url = f"{plain.url}/datasets/{REPOSITORY}/resolve/{FIRST}/file"
            ResumingDownloader(file, part, session, told.append)(url, str(out), None)
    except XappaError:
        assert not out.exists()
    else:
        assert out.read_bytes() == contents
        assert sum(told) == len(contents)
        assert not part.exists()
