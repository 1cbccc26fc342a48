"""Released weights: what of them is fetched, and to which folder."""

from __future__ import annotations

import json
import re

import pytest

import xappa
from tests.hub_server import FakeHub
from tests.released_model import (
    DUMP,
    FIRST,
    LAP,
    NAME,
    NEEDED,
    QUIET,
    RUN,
    SECOND,
    WEIGHTS,
    fetch,
    held,
    hub_with_one_commit,
    project,
    same,
)
from xappa.errors import DownloadError, ModelError

pytestmark = pytest.mark.filterwarnings(QUIET)

hub = pytest.fixture(hub_with_one_commit)


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


def test_progress(hub, capfd):
    xappa.fetch(NAME, progress=True)
    shown = capfd.readouterr().err
    assert f"{NAME} {FIRST[:12]} model_last.pth" in shown
    assert re.search(r"\d+k/9\d\dk", shown)
    assert "Downloading" not in shown
