"""A judge that draws nothing, so that tests of the queue need no torch: an embedding's name says how it is judged.

`broken ...` is judged broken, `error` raises, `device` breaks the device off, `kill` ends the process, `slow` takes its time.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from stored import numbers

from embconv.converters.containers import safetensors
from embconv.registry.blobs import Blobs
from embconv.registry.errors import RegistryError
from embconv.registry.ingest import ingest
from embconv.registry.render_errors import BadCheckpoint, DeviceFailed, DeviceFull
from embconv.registry.store import Store
from embconv.registry.store.checkpoints import put_checkpoint
from embconv.registry.verdicts import Cell, Checkpoint, Judged, Picture, Protocol, Verdict, protocol_summary, summary_of

WIDTHS = {"sd1": 768, "sd2": 1024}


def checkpoint(name: str = "fifteen", base: str = "sd1", **more: Any) -> Checkpoint:
    """One that no file is needed for."""
    facts: dict[str, Any] = {"path": f"{name}.safetensors", "kind": "single_file", "fingerprint": hashlib.sha256(name.encode()).hexdigest(),
                             "size": 64, "added": f"2026-01-01T00:00:00.000Z {name}"}  # fmt: skip
    return Checkpoint(name=name, base=base, **{**facts, **more})


def know(store: Store, *several: Checkpoint) -> None:
    """Add checkpoints to a registry."""
    for each in several:
        store.write(lambda db, each=each: put_checkpoint(db, each))


def file(seed: int, base: str = "sd1") -> bytes:
    """An embedding of a base."""
    return safetensors.write({"emb_params": numbers(seed, 1, WIDTHS[base])}, {})


def fill(store: Store, blobs: Blobs, *names: str, base: str = "sd1", first: int = 0) -> list[str]:
    """Embeddings with these names; their digests."""
    found = []
    for seed, name in enumerate(names, first):
        told = ingest(store, blobs, file(seed, base), name=f"{name.replace(' ', '_')}.safetensors", given_name=name)
        found.append(msgspec.json.decode(told.embeddings[0])["digest"])
    return found


def webp(text: str) -> bytes:
    """What stands for a picture."""
    return b"RIFF" + text.encode()


def verdict(model: Checkpoint, protocol: Protocol, state: str = "pass", because: str = "It works.") -> Verdict:
    return Verdict(state=state, because=because, numbers={"r": 0.5}, checkpoint=summary_of(model), protocol=protocol_summary(protocol))


def judged(model: Checkpoint, protocol: Protocol, digest: str, state: str = "pass", drawn: str = "") -> Judged:
    """A verdict with a baseline, the same for all, and a picture of its own."""
    facts = {"seed": 1, "sampler": protocol.sampler, "steps": protocol.steps, "cfg": protocol.cfg, "width": protocol.width, "height": protocol.height}
    cells = (Cell(kind="baseline", prompt="a photo of", **facts), Cell(kind="test", prompt="a photo of {T}", weight=1.0, infotext="a photo", **facts))
    pictures = (Picture(cell=cells[0], webp=webp("baseline")), Picture(cell=cells[1], webp=webp(f"{digest} {drawn}")))
    return Judged(digest=digest, verdict=verdict(model, protocol, state), pictures=pictures)


class Subject(NamedTuple):
    digest: str
    name: str


class Fakes:
    """Tools by which everything goes as the names say. `log` is a file to which each verdict adds a line, of every process."""

    def __init__(self, log: Path | None = None, *, seconds: float = 0.0, drawn: str = "") -> None:
        self.log, self.seconds, self.drawn = log, seconds, drawn
        self.loads: list[str] = []
        self.batches: list[list[str]] = []
        self.before: Callable[[str], None] = lambda digest: None

    def load(self, found: Checkpoint) -> Checkpoint:
        self.loads.append(found.name)
        if "gone" in found.name:
            raise BadCheckpoint(found.path, "is not there any more")
        if "huge" in found.name:
            raise DeviceFull("cpu", 64, 64)
        return found

    def subject(self, embedding: Any, entry: Any, file: Any) -> Subject:
        assert embedding.vectors
        assert file.sha256
        return Subject(entry.digest, entry.name)

    def judge(self, model: Checkpoint, subjects: Sequence[Subject], protocol: Protocol, calibration: Any) -> Iterator[Judged]:
        self.batches.append([each.name for each in subjects])
        for each in subjects:
            self.poison(each.name)
        for each in subjects:
            time.sleep(self.seconds)
            self.before(each.digest)
            if self.log is not None:
                with self.log.open("a") as lines:
                    lines.write(f"{each.digest} {os.getpid()}\n")
            yield judged(model, protocol, each.digest, "broken" if each.name.startswith("broken") else "pass", self.drawn)

    def poison(self, name: str) -> None:
        """What some embeddings do to the whole batch they are in."""
        if name.startswith("error"):
            raise ValueError("shapes do not match")
        if name.startswith("device"):
            raise DeviceFailed("cpu", "an illegal memory access was encountered")
        if name.startswith("cuda"):
            raise RuntimeError("CUDA error: device-side assert triggered")
        if name.startswith("refused"):
            raise RegistryError("no")
        if name.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)

    def broken(self, exc: BaseException) -> bool:
        return "CUDA error" in str(exc)


if __name__ == "__main__":  # a worker in a process of its own: HOME LOG SECONDS [once] [child] [at=JOBS]
    from embconv.registry.validation import worker

    home, log, seconds, *more = sys.argv[1:]
    worker.AT_ONCE = next((int(word.removeprefix("at=")) for word in more if word.startswith("at=")), worker.AT_ONCE)
    worker.EVERY = 0.05
    sys.exit(worker.run(home, lambda: Fakes(Path(log), seconds=float(seconds)), once="once" in more, child="child" in more))
