"""The real thing, with a tiny random pipeline: a job that was asked for becomes a verdict with pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import judged
import pytest
from PIL import Image
from stored import safetensors

from embconv.registry.blobs import Blobs
from embconv.registry.ingest import ingest
from embconv.registry.store import Store, resolve
from embconv.registry.store.validations import verdicts_of
from embconv.registry.validation.checkpoints import recognise
from embconv.registry.validations import Wanted, one, pending
from embconv.registry.verify import verify

EMBCONV = Path(sys.executable).with_name("embconv")


@pytest.fixture
def ready(home: str, store: Store, blobs: Blobs, folder: Callable[[str], Path]) -> list[int]:
    """Jobs for a checkpoint that is a folder, and for one that has changed since."""
    good = recognise(os.fspath(folder("sd1")), name="tiny")
    judged.know(store, good, judged.checkpoint("changed", path=good.path, kind="folder", stamp="then"))
    for seed in range(2):
        ingest(store, blobs, safetensors(seed), name=f"n{seed}.safetensors")
    return [*pending(store, Wanted(checkpoint="changed")), *pending(store, Wanted(checkpoint="tiny"))]


def test_a_worker_judges_with_a_checkpoint_of_the_registry(ready: list[int], home: str, store: Store, blobs: Blobs) -> None:
    done = subprocess.run([EMBCONV, "worker", "--once", "--device", "cpu", "--home", home], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    jobs = [one(store, number) for number in ready]
    assert [each.state for each in jobs] == ["failed", "failed", "done", "done"]
    assert [each.failed.code for each in jobs[:2] if each.failed] == ["bad_checkpoint"] * 2
    for name in ("n0", "n1"):
        (found,) = verdicts_of(store.read, resolve(store.read, name))
        assert found.verdict.state in ("pass", "weak", "no_effect")
        assert found.verdict.made_with["torch"]
        assert {each.cell.kind for each in found.renders} >= {"baseline", "test"}
        assert {each.cell.prompt for each in found.renders if each.cell.kind == "test"} <= {f"a photo of {name}", "a photo of a woman"}
        assert any(f"a photo of {name}\n" in each.cell.infotext for each in found.renders)
        for each in found.renders:
            with Image.open(blobs.path(each.id)) as picture:
                assert (picture.format, picture.size) == ("WEBP", (each.cell.width, each.cell.height))
    assert verify(store, blobs).problems == ()
    assert "2 jobs that want it have failed" in done.stderr
    assert ", standard: " in done.stderr


def test_a_device_that_is_not_there_is_said_once(home: str) -> None:
    done = subprocess.run([EMBCONV, "worker", "--once", "--home", home, "--device", "cuda:99"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("[no_device]") == 1


def test_missing_libraries_are_said_with_the_command_that_installs_them(home: str) -> None:
    code = "import sys; sys.modules['diffusers'] = None; sys.argv = ['embconv', 'worker', '--no-restart', '--home', sys.argv[1]]; from embconv.cli.main import cli; cli()"
    done = subprocess.run([sys.executable, "-c", code, home], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "[missing_extra]" in done.stderr
    assert "pip install 'embconv[render]'" in done.stderr
    assert "Traceback" not in done.stderr
