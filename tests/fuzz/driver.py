"""Runs one target with mutated valid files: `python tests/fuzz/fuzz_x.py --runs 1000000 --seed 1`.

Anything but an error of embconv's own tree, a second of work, or another answer than the peer's is a finding: the input is
written to a file, and the run ends with 1. `--atheris` hands the same target to libFuzzer where that is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from msgspec import Struct, field

from embconv.converters.errors import EmbconvError

SECOND = 1.0


class Target(Struct):
    """`mutate` makes an input, `run` reads it or raises an EmbconvError, `peer` compares what was accepted with another reader."""

    name: str
    mutate: Callable[[Random], bytes]
    run: Callable[[bytes], object]
    peer: Callable[[bytes, object], bool] | None = None  # raises AssertionError; whether the other reader loads it too
    every: int = 50  # of the accepted, one in so many is compared


class Tally(Struct):
    """What the runs of one target came to."""

    runs: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    compared: int = 0
    slowest: float = 0.0
    slow_input: bytes = b""
    findings: list[tuple[str, bytes]] = []


def fuzz(target: Target, runs: int, seed: int, most: int = 10) -> Tally:
    """`runs` inputs; the same seed gives the same inputs."""
    chance, tally = Random(seed), Tally()
    while tally.runs < runs and len(tally.findings) < most:
        one(target, target.mutate(chance), tally)
    return tally


def one(target: Target, data: bytes, tally: Tally) -> None:
    """One input, counted."""
    tally.runs += 1
    start = time.perf_counter()
    try:
        found = target.run(data)
    except EmbconvError as exc:
        tally.errors[type(exc).__name__] += 1
        if not (exc.says.isprintable() and exc.code):
            tally.findings.append(("an error that cannot be shown", data))
    except Exception as exc:  # noqa: BLE001  # whatever it is, it is a finding
        tally.findings.append((f"{type(exc).__name__}: {exc}"[:200], data))
    else:
        _accepted(target, data, found, tally)
    took = time.perf_counter() - start
    if took > tally.slowest and (took := _again(target, data, took)) > tally.slowest:
        tally.slowest, tally.slow_input = took, data
        if took > SECOND:
            tally.findings.append((f"{took:.2f} s", data))


def _accepted(target: Target, data: bytes, found: object, tally: Tally) -> None:
    tally.accepted += 1
    if target.peer is None or tally.accepted % target.every:
        return
    try:
        tally.compared += target.peer(data, found)
    except Exception as exc:  # noqa: BLE001  # whatever it is, it is a finding
        tally.findings.append((f"the peer disagrees: {type(exc).__name__}: {exc}"[:200], data))


def _again(target: Target, data: bytes, took: float) -> float:
    """The time once more, without what else the machine did meanwhile (and without the peer)."""
    start = time.perf_counter()
    try:
        target.run(data)
    except Exception:  # noqa: BLE001  # counted before
        return min(took, time.perf_counter() - start)
    return min(took, time.perf_counter() - start)


def main(target: Target) -> None:
    """The command line of one target."""
    parser = argparse.ArgumentParser(description=target.name)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(), help="the folder for what is found")
    parser.add_argument("--atheris", action="store_true", help="let libFuzzer make the inputs (pip install atheris)")
    options = parser.parse_args()
    if options.atheris:
        _atheris(target)
        return
    start = time.perf_counter()
    tally = fuzz(target, options.runs, options.seed)
    seconds = time.perf_counter() - start
    print(f"{target.name}: {tally.runs:,} runs in {seconds:.0f} s, {tally.runs / seconds:,.0f} a second")
    print(f"  accepted {tally.accepted:,}, of which {tally.compared:,} were compared with a peer that loads them too")
    print("  " + ", ".join(f"{name} {count:,}" for name, count in tally.errors.most_common()))
    print(f"  slowest {1000 * tally.slowest:.1f} ms, {len(tally.slow_input):,} bytes")
    for what, data in tally.findings:
        path = options.out / f"finding-{target.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        print(f"  {path}: {what}")
    sys.exit(bool(tally.findings))


def _atheris(target: Target) -> None:
    import atheris

    def step(data: bytes) -> None:
        try:
            target.run(data)
        except EmbconvError:
            return

    atheris.instrument_all()
    atheris.Setup([sys.argv[0]], step)
    atheris.Fuzz()
