"""Converted forms: bounded, the least used first to go, and never torn."""

import os
import time
from pathlib import Path

import pytest

from embconv.registry.cache import Cache

DIGEST = "emb:" + "a" * 64


def read(cache: Cache, form: str) -> bytes | None:
    file = cache.get(DIGEST, form)
    if file is None:
        return None
    with file:
        return file.read()


def test_a_form_is_kept(home: str) -> None:
    cache = Cache(home, 1000)
    assert read(cache, "png") is None
    cache.put(DIGEST, "png", b"picture")
    assert read(cache, "png") == b"picture"
    assert read(Cache(home, 1000), "png") == b"picture"


def test_the_least_used_go_first(home: str) -> None:
    cache = Cache(home, 1000)
    for n in range(4):
        cache.put(DIGEST, f"form{n}", b"x" * 250)
        os.utime(cache.path(DIGEST, f"form{n}"), ns=(n, n))
    read(cache, "form0")
    cache.put(DIGEST, "form4", b"x" * 250)
    assert [n for n in range(5) if read(cache, f"form{n}")] == [0, 3, 4]


def test_it_stays_bounded(home: str) -> None:
    cache = Cache(home, 10_000)
    for n in range(200):
        cache.put(DIGEST, f"form{n}", b"x" * 333)
        assert sum(path.stat().st_size for path in Path(home).rglob("*") if path.is_file()) <= 10_000
    time.sleep(0)


def test_a_smaller_limit_holds_from_the_start(home: str) -> None:
    for n in range(10):
        Cache(home, 10_000).put(DIGEST, f"form{n}", b"x" * 500)
    Cache(home, 2_000).sweep()
    assert sum(path.stat().st_size for path in Path(home).rglob("*") if path.is_file()) <= 2_000


def test_what_is_larger_than_all_of_it_is_not_kept(home: str) -> None:
    cache = Cache(home, 10)
    cache.put(DIGEST, "png", b"x" * 11)
    assert read(cache, "png") is None


@pytest.mark.parametrize("form", ["../x", "a/b", "", "A", "x" * 300, "a\0b"])
def test_only_words_become_paths(home: str, form: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        Cache(home, 10).path(f"../{DIGEST}" if not form else DIGEST, form)


def test_a_disk_that_does_not_take_it_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    Cache(str(tmp_path), 100).put(DIGEST, "png", b"x")
