"""`embconv backup`: one file that, unpacked, is the registry again; here and through a server alike."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Said

Run = Callable[..., Said]


@pytest.fixture
def kept(samples: Path, embconv: Run, place: str) -> Run:
    embconv("add", "moonpaper.pt", "fox-toy.bin")
    return embconv


def test_it_ends_in_the_path_and_unpacked_it_is_the_registry(kept: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    said = kept("backup", "kept.zip")
    assert said.code == 0
    assert Path(said.lines[-1]).samefile("kept.zip")
    found = kept("search", "-q").lines
    with zipfile.ZipFile("kept.zip") as archive:
        archive.extractall("again")
    monkeypatch.delenv("EMBCONV_REGISTRY", raising=False)
    assert kept("search", "-q", "--home", "again").lines == found
    assert kept("verify", "--home", "again").lines[-1].endswith("all is well")


def test_nothing_is_overwritten(kept: Run) -> None:
    Path("kept.zip").write_bytes(b"mine")
    said = kept("backup", "kept.zip")
    assert said.code == 1
    assert "[target_exists]" in said.err
    assert "--force" not in said.err
    assert Path("kept.zip").read_bytes() == b"mine"


def test_the_ways_of_printing(kept: Run) -> None:
    assert kept("backup", "one.zip", "--json").document["files"] == 2
    assert Path(kept("backup", "two.zip", "-q").out.strip()).samefile("two.zip")


def test_a_folder_that_is_not_there_is_said(kept: Run) -> None:
    said = kept("backup", "no/such/kept.zip")
    assert said.code == 1
    assert "[cannot_write]" in said.err
