"""Several processes that fetch the same weights, and processes that are killed while they do."""

from __future__ import annotations

import hashlib
import signal
import time
from pathlib import Path

import pytest

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
    same,
    started,
)

pytestmark = pytest.mark.filterwarnings(QUIET)

hub = pytest.fixture(hub_with_one_commit)


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
