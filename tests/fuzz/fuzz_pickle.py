"""Bare pickles, changed opcode by opcode."""

from __future__ import annotations

from random import Random

from driver import Target, main
from grammar import carried, changed_bytes, changed_pickle, opcodes
from reading import fetched, same_as_pickle

from embconv.converters.containers import bare_pickle
from embconv.converters.source import Source

WHOLE = carried()
SEEDS = [opcodes(data) for data in WHOLE]


def mutate(chance: Random) -> bytes:
    if chance.random() < 0.1:
        return changed_bytes(chance, chance.choice(WHOLE))
    return changed_pickle(chance, SEEDS)


def run(data: bytes) -> object:
    return fetched(bare_pickle.read(Source(data, "fuzzed.pkl")))


TARGET = Target("pickle", mutate, run, same_as_pickle, every=3)

if __name__ == "__main__":
    main(TARGET)
