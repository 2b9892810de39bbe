"""`embconv verify`: rot is found, named, and put right where it can be; here and through a server alike."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Said

Run = Callable[..., Said]


@pytest.fixture
def kept(samples: Path, embconv: Run, place: str) -> Run:
    embconv("add", "moonpaper.pt", "fox-toy.bin")
    return embconv


def blobs(home: Path) -> list[Path]:
    return sorted(path for path in (home / "blobs/sha256").rglob("*") if path.is_file())


def test_a_good_registry(kept: Run) -> None:
    said = kept("verify")
    assert (said.code, said.lines) == (0, ["2 embeddings, 2 of 2 files read: all is well"])
    assert kept("verify", "--json").document == {"good": True, "files": 2, "checked": 2, "embeddings": 2, "problems": []}


def test_rot_is_found(kept: Run, home: Path) -> None:
    bad = blobs(home)[0]
    bad.chmod(0o644)
    bad.write_bytes(bad.read_bytes()[:-1] + b"\xff")
    said = kept("verify")
    assert said.code == 1
    assert said.lines[0].startswith(f"rotten    {bad.name}")
    assert said.lines[-1] == "2 embeddings, 2 of 2 files read: 1 problem"
    assert kept("verify", "-q").lines == [bad.name]
    (problem,) = kept("verify", "--nl").documents
    assert (problem["kind"], problem["ref"]) == ("rotten", bad.name)


def test_orphans_go_by_repair(kept: Run, home: Path) -> None:
    import hashlib

    data = b"nobody's"
    name = hashlib.sha256(data).hexdigest()
    orphan = home / "blobs/sha256" / name[:2] / name
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(data)
    assert kept("verify").code == 1
    said = kept("verify", "--repair")
    assert (said.code, said.lines[-1]) == (0, "2 embeddings, 2 of 2 files read: 1 put right")
    assert not orphan.exists()


def test_a_sample_reads_a_share(kept: Run) -> None:
    assert kept("verify", "--sample", "0%").lines == ["2 embeddings, 0 of 2 files read: all is well"]
    assert kept("verify", "--sample", "1.0", "--json").document["checked"] == 2


@pytest.mark.parametrize("share", ["5x", "101%", "-1", "", "2"])
def test_what_is_no_share_is_a_usage_error(samples: Path, embconv: Run, share: str) -> None:
    assert embconv("verify", "--sample", share).code == 2
