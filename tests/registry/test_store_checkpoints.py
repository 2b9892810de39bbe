"""Checkpoints and calibrations as the database keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from embconv.registry.render_errors import UnknownCheckpoint
from embconv.registry.store import Store
from embconv.registry.store.checkpoints import calibration_of, checkpoint_of, checkpoints, drop_checkpoint, put_calibration, put_checkpoint
from embconv.registry.verdicts import Calibration, Checkpoint

FIRST = Checkpoint(name="first", base="sd1", path="/models/first", kind="folder", fingerprint="a" * 64, size=512, added="2026-01-02T00:00:00.000Z")
SECOND = replace(FIRST, name="second", fingerprint="b" * 64, added="2026-01-03T00:00:00.000Z")
LARGE = replace(FIRST, name="large", base="sdxl", size=1024, kind="single_file", config="/models/config", added="2026-01-01T00:00:00.000Z")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path)) as made:
        for each in (SECOND, LARGE, FIRST):
            made.write(lambda db, each=each: put_checkpoint(db, each))
        yield made


def test_all_of_it_comes_back_the_first_of_each_base_before_the_others(store: Store) -> None:
    assert checkpoints(store.read) == [FIRST, SECOND, LARGE]
    assert checkpoint_of(store.read, "large") == LARGE


def test_one_that_is_put_again_keeps_its_place(store: Store) -> None:
    moved = replace(FIRST, path="/elsewhere", fingerprint="c" * 64)
    store.write(lambda db: put_checkpoint(db, moved))
    assert checkpoints(store.read) == [moved, SECOND, LARGE]


def test_one_that_is_dropped_makes_the_next_the_first(store: Store) -> None:
    store.write(lambda db: drop_checkpoint(db, "first"))
    assert checkpoints(store.read) == [SECOND, LARGE]
    for work in (lambda db: drop_checkpoint(db, "first"), lambda db: checkpoint_of(db, "frist")):
        with pytest.raises(UnknownCheckpoint):
            store.write(work)


def test_a_calibration_is_that_of_its_checkpoint_and_its_way_of_measuring(store: Store) -> None:
    made = Calibration(fingerprint="a" * 64, protocol="0123456789abcdef", words=200, percentiles={"positive.probe": {"p50": 0.5}}, noise={"pixels": 0.0})
    store.write(lambda db: put_calibration(db, made))
    assert calibration_of(store.read, made.fingerprint, made.protocol) == made
    assert calibration_of(store.read, made.fingerprint, "another") is None
    assert calibration_of(store.read, "b" * 64, made.protocol) is None
    again = replace(made, words=300)
    store.write(lambda db: put_calibration(db, again))
    assert calibration_of(store.read, made.fingerprint, made.protocol) == again
