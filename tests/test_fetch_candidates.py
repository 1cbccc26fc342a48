"""Releases that hold several networks: they are listed, one is chosen and remembered."""

from __future__ import annotations

import pytest

from tests.released_model import (
    DUMP,
    FIRST,
    LAP,
    NAME,
    QUIET,
    SECOND,
    VIT,
    WEIGHTS,
    fetch,
    held,
    hub_with_one_commit,
    noise,
)
from xappa.errors import ModelError, OptionError
from xappa.model import registry

pytestmark = pytest.mark.filterwarnings(QUIET)

hub = pytest.fixture(hub_with_one_commit)


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
        entry = registry.read_registry()[NAME]
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
