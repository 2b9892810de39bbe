"""A folder of files: every one is tried, none stops the rest, and no file has its name before it is whole."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import zipped

from embconv.converters import write as writing
from embconv.converters.bulk import CHUNK, FEW, chunked, convert_units, counts
from embconv.converters.convert import Options, Outcome
from embconv.converters.errors import EmbconvError, NotEqual
from embconv.converters.folders import CANDIDATES, PICTURES, Unit, find, first_half, meeting
from embconv.converters.hashes import digest
from embconv.converters.read import load
from embconv.converters.source import Source
from embconv.converters.staging import Staging
from embconv.converters.targets import target
from embconv.converters.write import Written
from examples import EXAMPLES, OTHERS, a1111_dict, made, png, records, safetensors, torch_file

STYLE = torch_file(a1111_dict(made(2, 768)))
OTHER = torch_file(a1111_dict(made(2, 768, seed=1)))
THIRD = torch_file(a1111_dict(made(2, 768, seed=2)))
NOT_FINITE = torch_file(a1111_dict(made(1, 768) * float("nan")))
BROKEN = STYLE[:-100]
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")


def tree(folder: Path, **files: bytes) -> Path:
    """Files below a folder; `__` in a keyword is a slash and `_dot_` a dot."""
    for key, data in files.items():
        path = folder / key.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def run(
    folder: Path, *, to: str = ".safetensors", recursive: bool = True, out: Path | None = None, workers: int = 1, **options: Any
) -> list[Outcome]:
    found = find(str(folder), suffix=to, recursive=recursive, out=str(out) if out else None)
    return found.trouble + convert_units(found.units, Options(**options), done=lambda outcomes: None, workers=workers)


def said(outcomes: list[Outcome]) -> dict[str, str]:
    return {Path(outcome.path).name: outcome.status for outcome in outcomes}


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def vectors(path: Path) -> bytes:
    (tensor,) = load(path).vectors.values()
    return tensor.data


STYLES = {data: made(2, 768, seed=seed).numpy().tobytes() for seed, data in enumerate((STYLE, OTHER, THIRD))}


# ---- what is found ----


def test_found_below_and_beside(tmp_path: Path) -> None:
    tree(tmp_path, b_dot_pt=STYLE, a_dot_BIN=STYLE, sub__c_dot_safetensors=STYLE, pic_dot_png=b"")
    tree(tmp_path, readme_dot_txt=b"", _dot_hidden_dot_pt=STYLE)
    found = find(str(tmp_path), suffix=".pt", recursive=True, out=None)
    assert [unit.target for unit in found.units] == [str(tmp_path / name) for name in ("a.pt", "b.pt", "pic.pt", "sub/c.pt")]
    assert (found.others, found.trouble) == (2, [])
    found = find(str(tmp_path), suffix=".pt", recursive=False, out=str(tmp_path / "out"))
    assert [unit.target for unit in found.units] == [str(tmp_path / "out" / name) for name in ("a.pt", "b.pt", "pic.pt")]


def test_below_out_stands_the_same_tree(tmp_path: Path) -> None:
    tree(tmp_path / "in", a_dot_pt=STYLE, sub__deep__b_dot_pt=OTHER)
    run(tmp_path / "in", out=tmp_path / "out")
    assert files_in(tmp_path / "out") == ["a.safetensors", "sub/deep/b.safetensors"]


def test_links_in_a_circle(tmp_path: Path) -> None:
    tree(tmp_path, sub__a_dot_pt=STYLE)
    (tmp_path / "sub" / "round").symlink_to(tmp_path)
    (tmp_path / "sub" / "self.pt").symlink_to(tmp_path / "sub" / "self.pt")
    (tmp_path / "sub" / "gone.pt").symlink_to(tmp_path / "nothing")
    (tmp_path / "sub" / "link.pt").symlink_to(tmp_path / "sub" / "a.pt")
    assert said(run(tmp_path)) == {"a.pt": "converted", "link.pt": "converted", "self.pt": "refused", "gone.pt": "refused"}


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    tree(tmp_path, a_dot_pt=STYLE, folder_dot_pt__b_dot_pt=OTHER)
    os.mkfifo(tmp_path / "pipe.pt")  # opening it would wait for ever
    (tmp_path / "zero.pt").symlink_to("/dev/zero")  # reading it would never end
    assert said(run(tmp_path)) == {"a.pt": "converted", "b.pt": "converted"}


@root
def test_a_folder_that_nobody_may_read(tmp_path: Path) -> None:
    tree(tmp_path, a_dot_pt=STYLE, shut__b_dot_pt=STYLE)
    (tmp_path / "shut").chmod(0)
    outcomes = run(tmp_path)
    (tmp_path / "shut").chmod(0o700)
    assert said(outcomes) == {"shut": "refused", "a.pt": "converted"}


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, a_dot_pt=STYLE, shut__b_dot_pt=STYLE)
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("shut"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    first, second = run(tmp_path)
    assert first.error is not None
    assert (first.error.code, first.error.says) == ("unreadable_file", f'The folder "{tmp_path}/shut" cannot be read: Permission denied.')
    assert second.status == "converted"


# ---- one bad file ----


@pytest.mark.parametrize("workers", [1, 2])
def test_no_bad_file_stops_the_rest(tmp_path: Path, workers: int) -> None:
    bad = {f"bad-{i}{other.suffix}": other.data for i, other in enumerate(OTHERS) if other.suffix in (*CANDIDATES, *PICTURES)}
    bad |= {"broken.pt": BROKEN, "empty.pt": b"", "lies.safetensors": b"\xff" * 20, "nan.pt": NOT_FINITE}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    examples = [example for example in EXAMPLES if example.layout == "a1111" and len(example.expected) == 1]
    good = {f"good-{i}{example.suffix}": example for i, example in enumerate(examples)}
    for name, example in good.items():
        (tmp_path / name).write_bytes(example.data)
    outcomes = run(tmp_path, out=tmp_path / "out", workers=workers)
    status = said(outcomes)
    assert {status[name] for name in good} == {"converted"}
    assert {status[name] for name in bad if not name.endswith(PICTURES)} == {"refused"}
    assert all(outcome.error for outcome in outcomes if outcome.status == "refused")
    assert len(files_in(tmp_path / "out")) == len(good)


def test_a_picture_without_an_embedding_is_just_a_picture(tmp_path: Path) -> None:
    tree(tmp_path, a_dot_png=png(), b_dot_png=b"\x89PNG\r\n\x1a\n" + bytes(20))
    assert said(run(tmp_path))["a.png"] == "passed_over"


# people unpack archives with names in another encoding
@pytest.mark.parametrize("workers", [1, 2])
def test_a_name_that_is_no_utf_8(tmp_path: Path, workers: int) -> None:
    folder = links(tmp_path / "in", 80, STYLE)
    try:
        (folder / os.fsdecode(b"b\xff.pt")).write_bytes(OTHER)
    except OSError:
        pytest.skip("this file system takes no such names")
    assert counts(run(folder, out=tmp_path / "out", workers=workers)) == {"converted": 81}


# ---- again ----


@pytest.mark.parametrize("out", [None, "out", "in/out"], ids=["beside", "elsewhere", "inside"])
def test_again_everything_is_already_there(tmp_path: Path, out: str | None) -> None:
    folder = tree(tmp_path / "in", a_dot_pt=STYLE, a_dot_bin=OTHER, b_dot_pt=STYLE, sub__c_dot_bin=THIRD)
    where = tmp_path / out if out else None
    first = run(folder, out=where)
    before = {name: (tmp_path / name).stat().st_ino for name in files_in(tmp_path)}
    second = run(folder, out=where)
    assert counts(first) == {"converted": 4}
    assert set(counts(second)) == {"already_there"}
    assert {name: (tmp_path / name).stat().st_ino for name in files_in(tmp_path)} == before


@pytest.mark.parametrize(("there", "status", "names"), [
    (STYLE, "already_there", ["a.safetensors"]),
    (OTHER, "converted", ["a-pt.safetensors", "a.safetensors"]),
], ids=["with the same vectors", "with other vectors"])  # fmt: skip
@pytest.mark.parametrize("unnamed", [writing.UNNAMED, 0], ids=["without a name before", "with a temporary name"])
def test_a_file_that_came_after_the_folder_was_looked_through_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bytes, status: str, names: list[str], unnamed: int
) -> None:
    monkeypatch.setattr(writing, "UNNAMED", unnamed)
    folder, out = tree(tmp_path / "in", a_dot_pt=STYLE), tmp_path / "out"
    found = find(str(folder), suffix=".safetensors", recursive=True, out=str(out))
    assert [unit.new for unit in found.units] == [True]
    run(tree(tmp_path / "other", a_dot_pt=there), out=out)
    before = (out / "a.safetensors").read_bytes()
    (outcome,) = convert_units(found.units, Options(), done=lambda outcomes: None)
    assert (outcome.status, sorted(os.listdir(out))) == (status, names)
    assert (out / "a.safetensors").read_bytes() == before
    assert vectors(out / names[0]) == STYLES[STYLE]


def test_what_is_there_is_seen_whatever_the_case_of_its_letters(tmp_path: Path) -> None:
    tree(tmp_path, in__a_dot_pt=STYLE, in__b_dot_pt=STYLE, out__A_dot_safetensors=b"")
    found = find(str(tmp_path / "in"), suffix=".safetensors", recursive=True, out=str(tmp_path / "out"))
    assert [(Path(unit.target).name, unit.new) for unit in found.units] == [("a.safetensors", False), ("b.safetensors", True)]


def test_where_nobody_may_look_nothing_is_taken_for_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, in__a_dot_pt=STYLE, out__b_dot_safetensors=b"")

    def listdir(folder: str) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)

    monkeypatch.setattr(os, "listdir", listdir)
    found = find(str(tmp_path / "in"), suffix=".safetensors", recursive=True, out=str(tmp_path / "out"))
    assert [unit.new for unit in found.units] == [False]


@pytest.mark.skipif(os.name == "nt", reason="it has no such limit")
def test_few_files_may_be_open(tmp_path: Path) -> None:
    folder = links(tmp_path / "in", 300, STYLE)
    few = ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", *command(folder, tmp_path / "out")]
    done = subprocess.run(few, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(files_in(tmp_path / "out")) == 300


def test_changed_vectors_are_not_written_over_what_is_there(tmp_path: Path) -> None:
    tree(tmp_path / "in", a_dot_pt=STYLE)
    run(tmp_path / "in", out=tmp_path / "out")
    tree(tmp_path / "in", a_dot_pt=OTHER)
    assert [Path(outcome.written or "").name for outcome in run(tmp_path / "in", out=tmp_path / "out")] == ["a-pt.safetensors"]
    assert vectors(tmp_path / "out" / "a.safetensors") == STYLES[STYLE]
    run(tmp_path / "in", out=tmp_path / "out", force=True)
    assert vectors(tmp_path / "out" / "a.safetensors") == STYLES[OTHER]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    tree(tmp_path / "in", a_dot_pt=STYLE, sub__b_dot_pt=OTHER, c_dot_pt=BROKEN)
    outcomes = run(tmp_path / "in", out=tmp_path / "out", dry_run=True)
    assert said(outcomes) == {"a.pt": "would_convert", "b.pt": "would_convert", "c.pt": "refused"}
    assert not (tmp_path / "out").exists()


# ---- names that several want ----

MEETING = {"a_dot_safetensors": safetensors({"<x>": made(2, 768, seed=2)}), "a_dot_bin": OTHER, "a_dot_pt": STYLE}
MET = {"a.pt": "a.safetensors", "a.bin": "a-bin.safetensors", "a.safetensors": "a-safetensors.safetensors"}


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("force", [False, True])
def test_pt_before_bin_before_safetensors(tmp_path: Path, force: bool, dry_run: bool) -> None:
    tree(tmp_path / "in", **MEETING)
    for again in (False, not dry_run):
        outcomes = run(tmp_path / "in", out=tmp_path / "out", force=force, dry_run=dry_run)
        assert {Path(outcome.path).name: Path(outcome.written or "").name for outcome in outcomes} == MET
        assert set(counts(outcomes)) == {"would_convert" if dry_run else "already_there" if again and not force else "converted"}
    if not dry_run:
        assert vectors(tmp_path / "out" / "a.safetensors") == STYLES[STYLE]
        assert vectors(tmp_path / "out" / "a-bin.safetensors") == STYLES[OTHER]
        assert vectors(tmp_path / "out" / "a-safetensors.safetensors") == STYLES[THIRD]


# a.bin is put at its second name at once, where a-bin.pt, which waits for its name, then finds it
def test_what_has_its_name_is_not_refused_for_another_that_finds_it_there(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", a_dot_pt=STYLE, a_dot_bin=OTHER)
    (folder / "a-bin.pt").write_bytes(THIRD)
    assert said(run(folder, out=tmp_path / "out")) == {"a.pt": "converted", "a.bin": "converted", "a-bin.pt": "converted"}
    assert {vectors(tmp_path / "out" / name) for name in files_in(tmp_path / "out")} == set(STYLES.values())
    assert len(files_in(tmp_path / "out")) == 3


def test_names_that_differ_in_case_only_meet() -> None:
    wanted = {"x/A.bin": "x/A.pt", "x/a.npy": "x/a.pt", "X/a.npy": "X/a.pt"}
    assert dict(meeting(wanted)) == {"x/A.pt": ["x/A.bin", "x/a.npy"], "X/a.pt": ["X/a.npy"]}
    there = {"A.bin": "A.pt", "a.pt": "a.pt"}
    assert dict(meeting(there)) == {"a.pt": ["A.bin", "a.pt"]}
    assert dict(meeting({**there, "A.pt": "A.pt"})) == {"A.pt": ["A.bin", "A.pt"], "a.pt": ["a.pt"]}  # a file system that tells them apart


@pytest.mark.parametrize("force", [False, True])
def test_beside_its_source_nothing_is_lost_either(tmp_path: Path, force: bool) -> None:
    tree(tmp_path, **MEETING)
    outcomes = run(tmp_path, force=force)
    assert vectors(tmp_path / "a.safetensors") == STYLES[THIRD]  # it was there, and is a source itself
    assert vectors(tmp_path / "a-pt.safetensors") == STYLES[STYLE]
    assert vectors(tmp_path / "a-bin.safetensors") == STYLES[OTHER]
    assert said(outcomes) == {"a.pt": "converted", "a.bin": "converted", "a.safetensors": "converted" if force else "refused"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_equal_vectors_share_one_file(tmp_path: Path, dry_run: bool) -> None:
    tree(tmp_path / "in", a_dot_pt=STYLE, a_dot_bin=torch_file({"<a>": made(2, 768)}))
    first = "would_convert" if dry_run else "converted"
    assert said(run(tmp_path / "in", out=tmp_path / "out", dry_run=dry_run)) == {"a.pt": first, "a.bin": "already_there"}


# ---- several in one file ----


@pytest.mark.parametrize("split", [False, True])
def test_each_embedding_of_a_file_becomes_a_file(tmp_path: Path, split: bool) -> None:
    several = torch_file({"<a>": made(1, 768), "a": made(1, 768, seed=1), "<b>": made(1, 768) * float("nan")})
    tree(tmp_path / "in", two_dot_bin=several, one_dot_pt=STYLE)
    outcomes = run(tmp_path / "in", out=tmp_path / "out", split=split)
    assert files_in(tmp_path / "out") == ["one.safetensors", "two-a-2.safetensors", "two-a.safetensors"]
    assert counts(outcomes) == {"converted": 3, "refused": 1}
    assert counts(run(tmp_path / "in", out=tmp_path / "out", split=split)) == {"already_there": 3, "refused": 1}


def test_one_of_each_file_is_picked(tmp_path: Path) -> None:
    tree(tmp_path / "in", two_dot_bin=torch_file({"<a>": made(1, 768), "<b>": made(1, 768, seed=1)}), one_dot_pt=STYLE)
    assert said(run(tmp_path / "in", out=tmp_path / "out", pick="<b>")) == {"two.bin": "converted", "one.pt": "refused"}
    assert vectors(tmp_path / "out" / "two.safetensors") == made(1, 768, seed=1).numpy().tobytes()


# ---- diffusers' two files ----

HALVES = {
    "learned_embeds_dot_safetensors": safetensors({"<wispy>": made(2, 768)}),
    "learned_embeds_2_dot_safetensors": safetensors({"<wispy>": made(2, 1280)}),
}


def test_the_two_files_of_sdxl_become_one(tmp_path: Path) -> None:
    tree(tmp_path / "in", **HALVES, **{f"steps__{key.replace('_dot_', '-steps-500_dot_')}": data for key, data in HALVES.items()})
    outcomes = run(tmp_path / "in", out=tmp_path / "out")
    assert counts(outcomes) == {"converted": 2}
    assert files_in(tmp_path / "out") == ["learned_embeds.safetensors", "steps/learned_embeds-steps-500.safetensors"]
    assert all(set(load(tmp_path / "out" / name).vectors) == {"clip_l", "clip_g"} for name in files_in(tmp_path / "out"))
    assert counts(run(tmp_path / "in", out=tmp_path / "out")) == {"already_there": 2}


def test_two_that_do_not_belong_together_are_converted_apart(tmp_path: Path) -> None:
    tree(tmp_path / "in", **{**HALVES, "learned_embeds_2_dot_safetensors": safetensors({"<other>": made(2, 1280)})})
    run(tmp_path / "in", out=tmp_path / "out")
    assert files_in(tmp_path / "out") == ["learned_embeds.safetensors", "learned_embeds_2.safetensors"]


# half of an SDXL embedding is no SD 1.x embedding
def test_what_refuses_the_pair_does_not_part_it(tmp_path: Path) -> None:
    tree(tmp_path / "in", **HALVES)
    (outcome,) = run(tmp_path / "in", out=tmp_path / "out", base="sd1")
    assert outcome.error is not None
    assert outcome.error.code == "base_mismatch"
    assert files_in(tmp_path) == ["in/learned_embeds.safetensors", "in/learned_embeds_2.safetensors"]


@pytest.mark.parametrize(
    ("name", "half"),
    [
        ("learned_embeds_2.bin", "learned_embeds.bin"),
        ("learned_embeds_2-steps-500.safetensors", "learned_embeds-steps-500.safetensors"),
        ("learned_embeds.bin", None),
        ("learned_embeds_20.bin", None),
        ("my_learned_embeds_2.bin", None),
    ],
)
def test_the_name_of_the_first_half(name: str, half: str | None) -> None:
    assert first_half(f"x/{name}") == (half and f"x/{half}")


# ---- for a program, for a base ----


def test_options_hold_for_every_file(tmp_path: Path) -> None:
    tree(tmp_path / "in", a_dot_pt=STYLE, b_dot_pt=torch_file(a1111_dict(made(1, 1024))), my_style=b"", c_dot_pt=OTHER)
    os.rename(tmp_path / "in" / "c.pt", tmp_path / "in" / "my c.pt")
    outcomes = run(tmp_path / "in", out=tmp_path / "out", base="sd1", target=target("comfyui"))
    assert said(outcomes) == {"a.pt": "converted", "b.pt": "refused", "my c.pt": "refused"}


# ---- the disk ----


def test_a_disk_that_is_full_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tree(tmp_path / "in", a_dot_pt=STYLE, b_dot_pt=OTHER, c_dot_pt=BROKEN)
    monkeypatch.setattr(os, "fsync", full)
    outcomes = run(tmp_path / "in", out=tmp_path / "out")
    assert said(outcomes) == {"a.pt": "failed", "b.pt": "failed", "c.pt": "refused"}
    assert [outcome.error.code for outcome in outcomes if outcome.error] == ["cannot_write", "cannot_write", "unreadable_file"]
    assert files_in(tmp_path / "out") == []


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    tree(tmp_path / "in", a_dot_pt=STYLE, sub__b_dot_pt=OTHER)
    tree(tmp_path / "out", sub=b"")
    assert said(run(tmp_path / "in", out=tmp_path / "out")) == {"a.pt": "converted", "b.pt": "failed"}


# ---- more than one core ----


def watched(monkeypatch: pytest.MonkeyPatch) -> list[multiprocessing.Process]:
    """The processes that are started from now on."""
    started: list[multiprocessing.Process] = []

    class Watched(multiprocessing.Process):
        def start(self) -> None:
            started.append(self)
            super().start()

    monkeypatch.setattr(multiprocessing, "Process", Watched)
    return started


def links(folder: Path, number: int, *sources: bytes) -> Path:
    """Many files, hard links to a few."""
    folder.mkdir()
    for i, data in enumerate(sources):
        (folder / f"{i:05}.pt").write_bytes(data)
    for i in range(len(sources), number):
        os.link(folder / f"{i % len(sources):05}.pt", folder / f"{i:05}.pt")
    return folder


@pytest.mark.parametrize("dry_run", [False, True])
def test_among_many_each_comes_to_what_it_comes_to_by_itself(tmp_path: Path, dry_run: bool) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for place in range(100):
        data = (STYLE, OTHER, BROKEN, THIRD, NOT_FINITE, b"<html>", safetensors({"<a>": made(1, 768), "<b>": made(2, 768)}))[place % 7]
        (folder / f"style-{place:03}.pt").write_bytes(data)
        if place % 11 == 0:  # at one target
            (folder / f"style-{place:03}.bin").write_bytes((OTHER, STYLE)[place % 2])
        if place % 13 == 0:
            (folder / f"half-{place:03}-clip_l.safetensors").write_bytes(safetensors({"<cat>": made(2, 768, seed=place)}))
            (folder / f"half-{place:03}-clip_g.safetensors").write_bytes(safetensors({"<cat>": made(2, 1280, seed=place)}))
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)

    def told(outcomes: list[Outcome]) -> list[object]:
        return [(o.path, o.status, Path(o.written or "").name, o.digest, o.hashes, o.error and o.error.code) for o in outcomes]

    found = run(folder, out=tmp_path / "together", dry_run=dry_run)
    units = find(str(folder), suffix=".safetensors", recursive=True, out=str(tmp_path / "alone")).units
    alone = [told(convert_units([unit], Options(dry_run=dry_run), done=lambda _: None, workers=1)) for unit in units]
    assert told(found) == [each for outcomes in alone for each in outcomes]
    assert len({outcome.status for outcome in found}) >= 3
    if not dry_run:
        assert files_in(tmp_path / "together") == files_in(tmp_path / "alone")


@pytest.mark.parametrize("unnamed", [0, writing.UNNAMED])
@pytest.mark.parametrize("fault", [NotEqual("", "the digests differ"), OSError(errno.EIO, "I/O error"), RecursionError("too deep")])
def test_one_that_is_not_proven_fails_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, unnamed: int) -> None:
    tree(tmp_path / "in", **{f"style-{place:02}_dot_pt": STYLE for place in range(40)})
    monkeypatch.setattr(writing, "UNNAMED", unnamed)
    real = writing.prove

    def prove(written: Written, back: str | bytes, name: str) -> None:
        if name.endswith("style-05.safetensors"):
            raise fault
        real(written, back, name)

    monkeypatch.setattr(writing, "prove", prove)
    statuses = said(run(tmp_path / "in", out=tmp_path / "out"))
    assert statuses == {f"style-{place:02}.pt": "failed" if place == 5 else "converted" for place in range(40)}
    assert files_in(tmp_path / "out") == [f"style-{place:02}.safetensors" for place in range(40) if place != 5]


def test_what_failed_is_held_by_nobody_where_no_garbage_is_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, **{f"style-{place:02}_dot_pt": (STYLE, BROKEN)[place % 5 == 0] for place in range(40)})
    real = writing.prove

    def prove(written: Written, back: str | bytes, name: str) -> None:
        if name.endswith("7.safetensors"):
            raise NotEqual(name, "the digests differ")
        real(written, back, name)

    monkeypatch.setattr(writing, "prove", prove)
    kinds = (Written, Staging, EmbconvError, Source)
    gc.collect()
    before = sum(issubclass(type(each), kinds) for each in gc.get_objects())
    gc.disable()
    try:
        found = run(tmp_path, out=tmp_path / "out")
        assert sum(issubclass(type(each), kinds) for each in gc.get_objects()) == before
    finally:
        gc.enable()
    assert counts(found) == {"converted": 28, "refused": 8, "failed": 4}


def test_small_files_that_hold_much_are_not_all_in_memory_at_once(tmp_path: Path) -> None:
    entries = records(torch_file(a1111_dict(torch.zeros(5000, 768))))
    large = zipped([(f"archive/{name}", data) for name, data in entries.items()], zipfile.ZIP_DEFLATED)
    assert len(large) < 100_000
    tree(tmp_path, **{f"style-{place:02}_dot_pt": large for place in range(32)})
    tracemalloc.start()
    try:
        found = run(tmp_path, out=tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counts(found) == {"converted": 32}
    assert peak < 120 << 20  # each has 15 MB, of which a few copies are needed


@pytest.mark.parametrize(("number", "used"), [(20, 0), (100, 2), (400, 2)])
def test_two_cores_are_used_where_it_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, used: int) -> None:
    processes = watched(monkeypatch)
    folder = links(tmp_path / "in", number, STYLE, OTHER, BROKEN)
    told: list[Outcome] = []
    found = find(str(folder), suffix=".safetensors", recursive=False, out=str(tmp_path / "out"))
    outcomes = convert_units(found.units, Options(), done=told.extend, workers=2)
    assert len(processes) == used
    assert [Path(outcome.path).name for outcome in outcomes] == sorted(os.listdir(folder))
    assert told == outcomes
    assert counts(outcomes) == {"converted": len(files_in(tmp_path / "out")), "refused": len([i for i in range(number) if i % 3 == 2])}


@pytest.mark.parametrize("count", [1, 2, 3, 17])
@pytest.mark.parametrize("number", [0, 1, 33, 400, 10_000])
def test_the_work_is_cut_smaller_towards_the_end(number: int, count: int) -> None:
    units = [Unit(sources=(f"{i}.pt",), target=f"{i}.safetensors") for i in range(number)]
    chunks = list(chunked(units, count))
    assert [unit for chunk in chunks for unit in chunk] == units
    assert sorted(map(len, chunks[count - 1 :]), reverse=True) == list(map(len, chunks[count - 1 :]))
    assert number < 10_000 or len({len(chunk) for chunk in chunks[:count]}) > count // 2  # so that they do not all give names at once
    assert max(map(len, chunks), default=0) <= CHUNK
    assert all(len(chunk) >= FEW for chunk in chunks[:-1])


def test_one_core_and_two_write_the_same(tmp_path: Path) -> None:
    folder = links(tmp_path / "in", 100, STYLE, OTHER)
    for workers in (1, 2):
        run(folder, out=tmp_path / str(workers), workers=workers)
    assert files_in(tmp_path / "1") == files_in(tmp_path / "2")
    assert all((tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes() for name in files_in(tmp_path / "1"))


def test_counts_are_of_what_happened() -> None:
    outcomes = [Outcome(path="a", status=status) for status in ("failed", "converted", "refused", "converted")]
    assert list(counts(outcomes).items()) == [("converted", 2), ("refused", 1), ("failed", 1)]


# ---- stopped ----

MANY = 3000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return links(tmp_path_factory.mktemp("many") / "in", MANY, *(torch_file(a1111_dict(made(1, 768, seed=i))) for i in range(4)))


def command(folder: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "embconv.cli", str(folder), "--to", "safetensors", "-o", str(out), "--nl"]


def stop(folder: Path, out: Path, how: Callable[[int], None]) -> int:
    """Start the real program, wait for its first files, stop it, wait for it and its helpers."""
    process = subprocess.Popen(command(folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not (out.is_dir() and any(name.endswith(".safetensors") for name in os.listdir(out))):
        time.sleep(0.005)
    how(process.pid)
    return process.wait(60)


def wait_for_helpers(group: int) -> None:
    for _ in range(1000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def whole(out: Path) -> int:
    """How many files there are; each of them must be all there."""
    wanted = [digest(load(torch_file(a1111_dict(made(1, 768, seed=i))))) for i in range(4)]
    names = [name for name in os.listdir(out) if name.endswith(".safetensors")]
    assert [name for name in names if digest(load(out / name)) != wanted[int(name[:5]) % 4]] == []
    return len(names)


@pytest.mark.parametrize("to", ["the program", "everybody, as a terminal does"])
def test_ctrl_c_leaves_no_partial_file(tmp_path: Path, many: Path, to: str) -> None:
    out = tmp_path / "out"
    code = stop(many, out, lambda pid: os.kill(pid, signal.SIGINT) if to == "the program" else os.killpg(pid, signal.SIGINT))
    assert code == 130
    assert [name for name in os.listdir(out) if not name.endswith(".safetensors")] == []
    assert 0 < whole(out) < MANY


def test_lines_come_while_the_rest_is_converted(tmp_path: Path, many: Path) -> None:
    with subprocess.Popen(command(many, tmp_path / "out"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        first = process.stdout.readline()
        there = len(os.listdir(tmp_path / "out"))
        rest = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert '"status":"converted"' in first
    assert there < MANY == len(rest) + 1


def test_killed_no_name_stands_for_half_a_file_and_the_next_run_finishes(tmp_path: Path, many: Path) -> None:
    out = tmp_path / "out"
    started: list[int] = []

    def kill(pid: int) -> None:
        started.append(pid)
        os.killpg(pid, signal.SIGKILL)

    stop(many, out, kill)
    wait_for_helpers(started[0])
    there = whole(out)
    assert 0 < there < MANY
    done = subprocess.run(command(many, out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert whole(out) == MANY
    assert done.stdout.count('"already_there"') == there


def test_units_are_plain_data() -> None:
    assert Unit(sources=("a.pt",), target="a.safetensors") == Unit(sources=("a.pt",), target="a.safetensors", pair=False)
