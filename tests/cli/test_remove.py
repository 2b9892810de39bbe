"""`embconv remove`: gone with a tombstone, back by adding, unless it was blocked; here and through a server alike."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Said

Run = Callable[..., Said]


@pytest.fixture
def kept(samples: Path, embconv: Run, place: str) -> Run:
    embconv("add", "moonpaper.pt", "fox-toy.bin")
    return embconv


def test_it_ends_in_the_digest_and_is_gone(kept: Run, home: Path) -> None:
    digest = kept("show", "moonpaper", "-q").out.strip()
    said = kept("remove", "moonpaper", "--why", "a copy")
    assert (said.code, said.lines) == (0, ["removed: moonpaper", digest])
    gone = kept("show", "moonpaper")
    assert gone.code == 1
    assert "(a copy).  [gone]" in gone.err
    assert kept("search", "-q").lines == [kept("show", "fox-toy", "-q").out.strip()]
    assert len([path for path in (home / "blobs/sha256").rglob("*") if path.is_file()]) == 1


def test_adding_it_again_brings_it_back(kept: Run) -> None:
    kept("remove", "moonpaper")
    assert kept("add", "moonpaper.pt").lines[0].startswith("added: ")
    assert kept("show", "moonpaper").code == 0


def test_what_is_blocked_stays_out(kept: Run) -> None:
    assert kept("remove", "moonpaper", "--block").lines[0] == "blocked: moonpaper"
    said = kept("add", "moonpaper.pt")
    assert said.code == 1
    assert "[blocked]" in said.err
    assert kept("search", "moonpaper", "-q").out == ""


def test_several_end_in_counts_and_none_stops_the_others(kept: Run) -> None:
    said = kept("remove", "moonpaper", "nobody", "fox-toy")
    assert (said.code, said.lines[-1]) == (1, "2 removed, 1 refused")
    assert "[unknown_reference]" in said.err


def test_the_ways_of_printing(kept: Run) -> None:
    digest = kept("show", "moonpaper", "-q").out.strip()
    assert kept("remove", "moonpaper", "-q").out.strip() == digest
    one, two = kept("remove", "fox-toy", "nobody", "--nl").documents
    assert (one["status"], two["error"]["code"]) == ("removed", "unknown_reference")


def test_references_come_from_stdin(samples: Path, embconv: Run) -> None:
    from click.testing import CliRunner

    from embconv.cli.app import app

    embconv("add", "moonpaper.pt", "fox-toy.bin")
    done = CliRunner().invoke(app, ["remove", "-", "-q"], input=embconv("search", "-q").out)
    assert len(done.stdout.splitlines()) == 2
    assert embconv("search", "-q").out == ""
