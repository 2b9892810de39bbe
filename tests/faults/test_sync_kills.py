"""A sync that is killed again and again ends with what an undisturbed one gives, and fetches nothing twice. EMBCONV_FAULT_ROUNDS=50: 50 kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fakes.civitai import Catalogue, Fake, always, generate, serve
from fakes.civitai_catalogue import tensor_file
from faults.harness import COMMAND, check_sound
from synced import calm, embeddings, picture, sent, states, stored

KILLS = int(os.environ.get("EMBCONV_FAULT_ROUNDS", "8"))
DOWNLOADS = 4
STARTING = 30.0


def started(home: Path, fake: Fake) -> subprocess.Popen[bytes]:
    """`embconv sync civitai`, in a process group of its own."""
    asked = ["sync", "civitai", "--api", fake.api_url, "--rate", "0", "--downloads", str(DOWNLOADS), "--nsfw", "all", "--home", home, "--quiet"]
    environment = {**os.environ, "EMBCONV_ALLOW_PRIVATE": "1", "EMBCONV_LOG_LEVEL": "error"}
    return subprocess.Popen([COMMAND, *asked], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env=environment)


def ended(process: subprocess.Popen[bytes]) -> str:
    """What a run says that nobody kills."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    return said.decode()


def killed(process: subprocess.Popen[bytes], fake: Fake, delay: float, *, alone: bool) -> bool:
    """SIGKILL some time after its first request, of the one process alone or of its helper too; was it still at work?"""
    seen, until = len(fake.log.requests), time.monotonic() + STARTING
    while process.poll() is None and len(fake.log.requests) == seen and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(delay)
    at_work = process.poll() is None
    if at_work:
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
    process.communicate(timeout=STARTING)
    return at_work


def made(models: int, **facts: Any) -> Catalogue:
    catalogue = generate(models, **facts)
    if (odd := catalogue.odd.get("wrong_bytes")) is not None:  # which would fail in every run
        catalogue.change_file(catalogue.models[odd].files[0].id, served=None)
    return catalogue


def kept(home: Path) -> dict[str, Any]:
    """By which two registries are the same; how often a line was said of bytes that several models share may differ."""
    return {"digests": embeddings(str(home)), "stored": stored(str(home)), "states": states(str(home)), **picture(str(home))}


CASES = {
    "many small files": lambda: made(250, files_per_model=(1, 2)),
    "few small files": lambda: made(66 + 30, files_per_model=(1, 1)),
    "larger files than are kept in memory": lambda: made(24, files=24, oddities=False, content=lambda id_: tensor_file(id_, 400)),
}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_a_killed_sync_goes_on_and_fetches_nothing_twice(tmp_path: Path, make: Any) -> None:
    dice, home, calmly = random.Random(len(str(make))), tmp_path / "home", tmp_path / "calm"
    with serve(make()) as fake:
        ended(started(calmly, fake))
        whole, once = kept(calmly), Counter(sent(fake))
        assert max(once.values()) == 1
        fake.log.clear()
        kills = 0
        fake.faults.api_slow, fake.faults.api_seconds = always(), 0.03
        while kills < KILLS and not done(home, whole):
            kills += killed(started(home, fake), fake, dice.uniform(0, 0.5), alone=dice.random() < 0.5)
            if (home / "registry.db").exists():
                check_sound(home)
        calm(fake.faults)
        ended(started(home, fake))
        assert kept(home) == whole
        twice = sum(count - 1 for count in Counter(sent(fake)).values())
        assert twice <= kills * DOWNLOADS
        assert set(sent(fake)) == set(once)
        assert kills >= min(KILLS, 3)
        assert not list((home / "spool").glob("*"))


def done(home: Path, whole: dict[str, Any]) -> bool:
    """Has it come to its end before it was killed often enough?"""
    return (home / "registry.db").exists() and states(str(home)) == whole["states"]
