"""Files arrive exactly or not at all, whatever lies there already, by the identities that git has."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hub_server import REPOSITORY, FakeHub, Fault, sha
from tests.released_model import FIRST, noise
from xappa.errors import XappaError
from xappa.model.fetching import http
from xappa.model.fetching.download import ResumingDownloader
from xappa.model.fetching.identity import RemoteFile, describe_difference


@pytest.mark.parametrize("contents", [b"", b"hello\n", noise("x", 5000)])
def test_identities_are_those_of_git(tmp_path, contents):
    path = tmp_path / "file"
    path.write_bytes(contents)
    git = shutil.which("git")
    if not git:
        pytest.skip("git is not installed")
    digest = subprocess.run([git, "hash-object", str(path)], capture_output=True, text=True, check=True).stdout.strip()
    assert describe_difference(path, RemoteFile("file", len(contents), "git", digest)) is None
    assert describe_difference(path, RemoteFile("file", len(contents), "git", sha("x"))) is not None


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
        url = f"{plain.url}/datasets/{REPOSITORY}/resolve/{FIRST}/file"
        ResumingDownloader(file, part, told.append)(url, str(out), None)
    except XappaError:
        assert not out.exists()
    else:
        assert out.read_bytes() == contents
        assert told[-1] == len(contents)
        assert not part.exists()
