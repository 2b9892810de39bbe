"""The operations of the command line in a folder of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from stored import a1111, words

from embconv.registry.errors import NoStore, UnknownReference
from embconv.registry.local import Local
from embconv.registry.model import Addition, Entry
from embconv.registry.registry import every
from embconv.registry.settings import Settings


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for seed in range(5):
        (tmp_path / f"style-{seed}.pt").write_bytes(a1111(seed))
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    return [os.fspath(path) for path in sorted(tmp_path.glob("*.pt"))]


def opened(home: str, *, create: bool = True) -> Local:
    return Local(Settings(home=home), create=create)


def test_nothing_is_made_where_nothing_is_added(home: str) -> None:
    with pytest.raises(NoStore) as refused:
        opened(home, create=False)
    assert "embconv add" in refused.value.hint
    assert not Path(home).exists()


def test_a_database_that_is_lost_while_its_bytes_are_there_is_made_anew(home: str, files: list[str]) -> None:
    local = opened(home)
    local.add(files, done=lambda each: None, name=None, role=None, tags=())
    local.close()
    for path in Path(home).glob("registry.db*"):
        path.unlink()
    local = opened(home, create=False)
    assert local.search([]).total == 0
    assert not local.verify(sample=1.0, repair=False, done=lambda checked: None).good
    local.close()


def test_one_file_and_many_are_told_of_alike(home: str, files: list[str], tmp_path: Path) -> None:
    (tmp_path / "two.bin").write_bytes(words(1, 2))
    local, heard = opened(home), list[Addition]()
    many = local.add(files, done=heard.append, name=None, role="negative", tags=("x",))
    assert [each.status for each in many] == ["refused", "added", "added", "added", "added", "added"]
    assert sorted(heard, key=lambda each: each.path) == many
    (one,) = local.add([files[1]], done=heard.append, name=None, role=None, tags=())
    assert (one.status, one.digests, one.triggers, one.sha256) == ("known", many[1].digests, many[1].triggers, many[1].sha256)
    (two,) = local.add([os.fspath(tmp_path / "two.bin")], done=heard.append, name=None, role=None, tags=())
    assert (two.status, two.triggers) == ("added", ("<word-1>", "<word-2>"))
    local.close()


def test_every_goes_through_all_pages(home: str, files: list[str]) -> None:
    local = opened(home)
    local.add(files, done=lambda each: None, name=None, role=None, tags=())
    whole = [msgspec.json.decode(item, type=Entry).digest for item in every(local, [("sort", "name"), ("limit", "2"), ("facet", "base")])]
    assert len(set(whole)) == 5
    local.close()


def test_removing_tells_the_digest_and_what_is_not_there_is_said(home: str, files: list[str]) -> None:
    local = opened(home)
    (one,) = local.add([files[1]], done=lambda each: None, name=None, role=None, tags=())
    assert local.remove("style-0", why="", block=False) == one.digests[0]
    with pytest.raises(UnknownReference):
        local.document("nobody")
    local.close()
