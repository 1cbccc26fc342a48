"""Files that appear complete or not at all."""

from __future__ import annotations

import pytest

from xappa._files import replace_atomically, write_text


@pytest.mark.parametrize("before", [None, "before"])
def test_a_file_takes_its_place_at_the_end(tmp_path, before):
    path = tmp_path / "file.txt"
    if before:
        path.write_text(before)
    with replace_atomically(path) as part:
        part.write_text("after")
        assert part.parent == tmp_path
        assert (path.read_text() if path.exists() else None) == before
    assert path.read_text() == "after"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_the_former_file_is_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(error), replace_atomically(path) as part:
        part.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_folders_above_a_text_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "text")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "text"
