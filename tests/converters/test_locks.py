"""Temporary folders are somebody's while that one lives, also where others sweep at the same moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from embconv.converters import locks
from embconv.converters.locks import TemporaryFolder, sweep_temporaries

posix = pytest.mark.skipif(os.name == "nt", reason="a folder is not locked there")


@posix
def test_a_sweep_leaves_the_folder_of_the_living(tmp_path: Path) -> None:
    folder = TemporaryFolder(str(tmp_path), ".x-")
    assert sweep_temporaries(str(tmp_path), ".x-") == 0
    assert os.listdir(tmp_path) == [os.path.basename(folder.path)]
    folder.discard()
    assert os.listdir(tmp_path) == []


# two processes that began at once: one had made its folder and not yet locked it when the other swept
@posix
@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_a_folder_that_is_swept_while_it_is_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    where, name = (os, "open") if moment == "before it is opened" else (locks, "lock")
    real, swept = getattr(where, name), []

    def after_a_sweep(*given: object, **named: object) -> object:
        if not swept:
            swept.append(0)
            swept[0] = sweep_temporaries(str(tmp_path), ".x-")
        return real(*given, **named)

    monkeypatch.setattr(where, name, after_a_sweep)
    folder = TemporaryFolder(str(tmp_path), ".x-")
    assert swept == [1]
    assert os.listdir(tmp_path) == [os.path.basename(folder.path)]
    folder.discard()
