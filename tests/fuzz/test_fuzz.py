"""Each fuzz target for a few thousand inputs, always the same ones; long runs: `python tests/fuzz/fuzz_x.py --runs 1000000`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the targets are programs of their own and import each other by their plain names

from driver import Tally, Target, fuzz, one  # noqa: E402  # found by the line above
from grammar import POOL  # noqa: E402

from embconv.converters.errors import UnreadableFile  # noqa: E402

TARGETS = ["torch_zip", "torch_legacy", "pickle", "safetensors", "image", "npy", "examine"]
RUNS = 2_000


def target(name: str) -> Target:
    found = importlib.import_module(f"fuzz_{name}").TARGET
    assert isinstance(found, Target)
    return found


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_in_a_few_thousand_inputs(name: str) -> None:
    tally = fuzz(target(name), RUNS, seed=20)
    assert [what for what, _ in tally.findings] == []
    assert tally.runs == RUNS
    assert tally.accepted > RUNS / 100
    assert tally.errors["UnreadableFile"] > RUNS / 10


def test_every_target_is_run_here() -> None:
    assert sorted(TARGETS) == sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_seed_gives_the_same_inputs(name: str) -> None:
    mutate = target(name).mutate
    first, second = Random(3), Random(3)
    assert [mutate(first) for _ in range(50)] == [mutate(second) for _ in range(50)]


def _raising(error: Exception) -> Any:
    def work(*_: object) -> None:
        raise error

    return work


def test_whatever_is_no_error_of_ours_is_a_finding() -> None:
    tally = Tally()
    one(Target("x", lambda chance: b"", _raising(KeyError("a"))), b"1", tally)
    one(Target("x", lambda chance: b"", _raising(UnreadableFile("x", "y"))), b"2", tally)
    one(Target("x", lambda chance: b"", lambda data: None, _raising(AssertionError("other numbers")), every=1), b"3", tally)
    assert [(what.partition(":")[0], data) for what, data in tally.findings] == [("KeyError", b"1"), ("the peer disagrees", b"3")]


def test_a_target_is_a_program() -> None:
    command = [sys.executable, str(HERE / "fuzz_safetensors.py"), "--runs", "500", "--seed", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("safetensors: 500 runs")


@given(st.sampled_from(["pickle", "torch_legacy", "npy", "image", "safetensors", "torch_zip"]), st.binary(max_size=200), st.integers(0, 99))
def test_bytes_behind_any_beginning_of_a_mutated_file_are_read_or_refused(name: str, noise: bytes, seed: int) -> None:
    chosen, tally = target(name), Tally()
    data = chosen.mutate(Random(seed))
    one(chosen, data[: len(data) * (seed + 1) // 100] + noise, tally)
    assert tally.findings == []


@given(st.lists(st.sampled_from(POOL), max_size=60))
def test_any_row_of_opcodes_is_read_or_refused_and_read_as_python_reads_it(parts: list[bytes]) -> None:
    tally = Tally(accepted=-1 % target("pickle").every)
    one(target("pickle"), b"\x80\4" + b"".join(parts) + b".", tally)
    assert tally.findings == []
