"""Work on many files in step: each comes to what it comes to by itself, and none touches another."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from embconv.converters import in_step as module
from embconv.converters.convert import Opened, open_input, opening
from embconv.converters.errors import EmbconvError, NotAnEmbedding, UnreadableFile
from embconv.converters.in_step import Work, finished, in_step
from examples import made, safetensors


def work(name: str, steps: int, seen: list[str], *, size: int = 0, fault: Exception | None = None) -> Work[str]:
    """So many steps, each written down; at the end its name, or a fault."""
    for step in range(steps - 1):
        seen.append(f"{name}{step}")
        yield size
    seen.append(f"{name}{steps - 1}")
    if fault:
        raise fault
    return name.upper()


def test_the_same_step_of_each_is_done_before_the_next_of_any() -> None:
    seen: list[str] = []
    assert list(in_step(work(name, 3, seen) for name in "abc")) == ["A", "B", "C"]
    assert seen == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_some_have_fewer_steps() -> None:
    seen: list[str] = []
    assert list(in_step(work(name, steps, seen) for name, steps in [("a", 1), ("b", 3), ("c", 2)])) == ["A", "B", "C"]
    assert seen == ["a0", "b0", "c0", "b1", "c1", "b2"]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_one_raises_stands_in_its_place_and_stops_no_other(steps: int) -> None:
    seen: list[str] = []
    fault = ZeroDivisionError()
    found = list(in_step([work("a", 3, seen), work("b", steps, seen, fault=fault), work("c", 3, seen)]))
    assert found == ["A", fault, "C"]


def test_what_stops_the_whole_program_stops_them_all() -> None:
    def stopped() -> Work[str]:
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_step([stopped(), work("a", 2, [])]))


def test_no_more_are_begun_than_are_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES", 2)
    seen: list[str] = []
    found = in_step(work(name, 2, seen) for name in "abcde")
    assert next(found) == "A"
    assert seen == ["a0", "b0", "a1", "b1"]
    assert list(found) == list("BCDE")
    assert seen[4:] == ["c0", "d0", "c1", "d1", "e0", "e1"]


def test_of_large_ones_fewer_are_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES", 10)
    seen: list[str] = []
    assert list(in_step(work(name, 2, seen, size=size) for name, size in [("a", 4), ("b", 6), ("c", 11), ("d", 9)])) == list("ABCD")
    assert seen == ["a0", "b0", "a1", "b1", "c0", "c1", "d0", "d1"]


def growing(name: str, held: list[int], seen: list[str]) -> Work[str]:
    """One step for each number, which says that it has put so much into memory; then another."""
    for step, size in enumerate(held):
        seen.append(f"{name}{step}")
        yield size
    seen.append(f"{name}{len(held)}")
    return name.upper()


def test_where_a_later_step_takes_much_the_others_wait_until_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES", 10)
    seen: list[str] = []
    found = in_step(growing(name, [1, size], seen) for name, size in [("a", 1), ("b", 12), ("c", 9), ("d", 1), ("e", 1)])
    assert next(found) == "A"
    assert seen == ["a0", "b0", "c0", "d0", "e0", "a1", "b1", "a2", "b2"]
    assert list(found) == list("BCDE")
    assert seen[9:] == ["c1", "d1", "c2", "d2", "e1", "e2"]


def test_one_by_itself() -> None:
    seen: list[str] = []
    assert finished(work("a", 3, seen)) == "A"
    assert seen == ["a0", "a1", "a2"]
    with pytest.raises(ZeroDivisionError):
        finished(work("b", 2, seen, fault=ZeroDivisionError()))


# files


def folder(path: Path, number: int) -> list[str]:
    """So many files, of which every third is none, or no embedding."""
    paths = [path / f"{place:03}.safetensors" for place in range(number)]
    for place, each in enumerate(paths):
        if place % 3 != 2:
            each.write_bytes(safetensors({"emb_params": made(1, 768, seed=place)}))
        elif place % 2:
            each.write_bytes(b"<html>")
    return list(map(str, paths))


def by_itself(path: str) -> Opened | EmbconvError:
    try:
        return open_input(path)
    except EmbconvError as exc:
        return exc


def told(found: Opened | Exception) -> object:
    return (type(found), str(found)) if isinstance(found, Exception) else found


@pytest.mark.parametrize("number", [0, 1, 31, 32, 33, 100])
def test_each_file_is_what_it_is_by_itself(tmp_path: Path, number: int) -> None:
    paths = folder(tmp_path, number)
    found = list(in_step(map(opening, paths)))
    assert [told(each) for each in found] == [told(by_itself(path)) for path in paths]
    assert {type(each) for each in found} == ({Opened, UnreadableFile, NotAnEmbedding} if number > 5 else {Opened} if number else set())


def test_an_error_that_was_told_is_held_by_nobody(tmp_path: Path) -> None:
    found = in_step(map(opening, [str(tmp_path / "a.pt"), str(tmp_path / "b.pt")]))

    def told_of() -> weakref.ref[UnreadableFile]:
        given = next(found)
        assert isinstance(given, UnreadableFile)
        try:
            raise given
        except UnreadableFile:
            return weakref.ref(given)
        finally:
            del given

    gc.collect()
    gc.disable()  # as in the processes that convert
    try:
        assert [told_of()(), told_of()()] == [None, None]
    finally:
        gc.enable()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="where Linux shows the open files of a process")
def test_no_file_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embconv.converters.source.WHOLE_READ", 0)  # so that each lies on the disk until it is closed
    before = len(os.listdir("/proc/self/fd"))
    found: Iterator[Opened | Exception] = in_step(map(opening, folder(tmp_path, 40)))
    next(found)
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(list(found)) == 39
    assert len(os.listdir("/proc/self/fd")) == before
