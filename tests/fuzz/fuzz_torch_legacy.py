"""torch's format before 1.6: one of its pickles changed, or the storages behind them."""

from __future__ import annotations

from random import Random

from driver import Target, main
from grammar import changed_bytes, changed_pickle, opcodes, samples, saved
from reading import fetched, same_as_torch

from embconv.converters.containers import torch_legacy
from embconv.converters.source import Source

WHOLE = [saved(value, _use_new_zipfile_serialization=False) for value in samples() if "fp8" not in value]


def _parts(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """The opcodes of the five pickles, and what follows them."""
    pickles, at = [], 0
    for _ in range(5):
        pickles.append(opcodes(data[at:]))
        at += sum(map(len, pickles[-1]))
    return pickles, data[at:]


FILES = [_parts(data) for data in WHOLE]


def mutate(chance: Random) -> bytes:
    pickles, tail = chance.choice(FILES)
    made = [b"".join(parts) for parts in pickles]
    kind = chance.random()
    if kind < 0.8:
        which = chance.choice((1, 2, 3, 3, 3, 3, 3, 3, 4, 4))
        made[which] = changed_pickle(chance, [pickles[which]])
    elif kind < 0.9:
        tail = changed_bytes(chance, tail)
    else:
        return changed_bytes(chance, b"".join(made) + tail)
    return b"".join(made) + tail


def run(data: bytes) -> object:
    return fetched(torch_legacy.read(Source(data, "fuzzed.pt")))


TARGET = Target("torch_legacy", mutate, run, same_as_torch, every=20)

if __name__ == "__main__":
    main(TARGET)
