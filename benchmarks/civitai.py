"""A mirror of Civitai against the fewest requests and a bare loop of httpx, in one run: `python benchmarks/civitai.py [--kills N]`.

The Civitai is the fake of tests/fakes, in this process; `embconv sync civitai` and the loop run in processes of their own, without
a limit to their rate. Its lists do what lists do there: they lose and repeat models, have short and empty pages, numbers for cursors,
a next page on another host, and more models of one moment than a page holds. Cursors that go in circles end a list; those are in the
tests. About two minutes, most of them for being killed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _measure import installed, table, workplace

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes.civitai import Fake, Faults, generate, serve

MODELS, FILES, TIED, LOOKED_UP = 3_000, 5_000, 150, 10_000
REQUESTS, SPEED, IDLE, ASKED = 1.1, 0.6, 5, 2
LOOP = """
import hashlib, json, sys, time
import httpx
api, files = sys.argv[1], json.load(sys.stdin)
with httpx.Client(follow_redirects=True) as client:
    start = time.perf_counter()
    for version, file, sha256 in files:
        data = client.get(f"{api}/api/download/models/{version}?fileId={file}").content
        assert hashlib.sha256(data).hexdigest() == sha256
    print(time.perf_counter() - start)
"""

Row = tuple[str, str, str, str, bool]


def every(number: int, counter: itertools.count[int]) -> Callable[[Any], bool]:
    """Each so many pages of a list."""
    return lambda seen: seen.path == "/api/v1/models" and next(counter) % number == number - 1


def faults() -> Faults:
    """What a list can do to whoever walks through it and still wants everything."""
    return Faults(page_short=every(7, itertools.count()), page_empty_with_cursor=every(5, itertools.count()), cursor_number=True,
                  next_page_other_host=True)  # fmt: skip


def environment(fake: Fake, home: Path) -> dict[str, str]:
    """A registry of its own, and the fake."""
    return {**os.environ, "EMBCONV_HOME": str(home), "EMBCONV_CIVITAI_URL": fake.api_url, "EMBCONV_ALLOW_PRIVATE": "1"}


def run(embconv: Path, fake: Fake, home: Path, *arguments: str) -> tuple[dict[str, Any], float]:
    """One command with its report and its wall time."""
    start = time.perf_counter()
    done = subprocess.run([embconv, *arguments, "--json"], env=environment(fake, home), capture_output=True, check=False)
    return json.loads(done.stdout), time.perf_counter() - start


def held(home: Path) -> set[tuple[int, str]]:
    """Every file of Civitai that a registry has, with the sha256 of its bytes."""
    database = sqlite3.connect(home / "registry.db")
    rows = database.execute("SELECT c.id, c.got FROM civitai_files c JOIN files f ON f.sha256 = c.got WHERE c.state = 'held'").fetchall()
    database.close()
    blobs = {path.name for path in (home / "blobs" / "sha256").glob("*/*")}
    assert blobs == {got for _, got in rows}
    return set(rows)


def wanted(fake: Fake) -> set[tuple[int, str]]:
    """Every file that there is."""
    return {(file.id, file.sha256) for file in fake.catalogue.files.values()}


def fetched(fake: Fake) -> Counter[str]:
    """How many times the bytes of each file were sent."""
    return Counter(seen.path for seen in fake.log.of(host="storage"))


def bare(fake: Fake) -> float:
    """Seconds of the loop."""
    files = [(file.version_id, file.id, file.sha256) for file in fake.catalogue.files.values()]
    done = subprocess.run([sys.executable, "-c", LOOP, fake.api_url], input=json.dumps(files), capture_output=True, text=True, check=True)
    return float(done.stdout)


def whole(embconv: Path, fake: Fake, folder: Path) -> list[Row]:
    """A full sync, the loop, and a sync with nothing new."""
    loop = FILES / bare(fake)
    fake.log.clear()
    report, taken = run(embconv, fake, folder / "full", "sync", "civitai", "--rate", "0", "--nsfw", "all")
    asked, pages = fake.log.count(host="api"), fake.log.count("/api/v1/models", host="api")
    fewest = MODELS // 100 + FILES
    right = held(folder / "full") == wanted(fake) and max(fetched(fake).values()) == 1
    speed = FILES / taken
    fake.log.clear()
    again, idle = run(embconv, fake, folder / "full", "sync", "civitai", "--rate", "0", "--nsfw", "all")
    few = fake.log.count(host="api")
    what = f"full sync of {MODELS:,} models, {FILES:,} files"
    against = f"a bare loop of httpx ({loop:,.0f} files/s)"
    return [
        (what, f"{report['added']:,} added, right: {right}", "what the fake has", "0 missing, double or wrong", right),
        ("its requests", f"{asked:,} ({pages} pages)", f"the fewest, {fewest:,}", f"{REQUESTS} times", asked <= REQUESTS * fewest),
        ("its speed, start to end", f"{speed / loop:.2f} times ({speed:,.0f} files/s)", against, f"{SPEED} times", speed >= SPEED * loop),
        ("sync with nothing new", f"{few} requests, {idle:.1f} s", "", f"{IDLE} requests", few <= IDLE and again["added"] == 0),
    ]


def killed(embconv: Path, fake: Fake, folder: Path, kills: int) -> Row:
    """The same, killed again and again."""
    command = [embconv, "sync", "civitai", "--rate", "0", "--nsfw", "all", "--json"]
    done, twice, right, homes = 0, 0, True, 0
    while done < kills:
        homes += 1
        home = folder / f"killed-{homes}"
        fake.log.clear()
        done += kill(command, fake, home, kills - done)
        run(embconv, fake, home, "sync", "civitai", "--rate", "0", "--nsfw", "all")
        twice += sum(count - 1 for count in fetched(fake).values())
        right = right and held(home) == wanted(fake)
    holds = right and twice <= 2 * done
    what = f"the same, killed {done} times in {homes} syncs"
    return (what, f"right: {right}; sent again: {twice}", "", f"at most 2 in flight each, {2 * done}", holds)


def kill(command: list[str | Path], fake: Fake, home: Path, kills: int) -> int:
    """Kill a sync up to so many times, or until it has ended; how many times."""
    done = 0
    while done < kills:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        with subprocess.Popen(command, env=environment(fake, home), **quiet) as process:
            try:
                process.wait(random.uniform(0.4, 0.9))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                done += 1
            else:
                return done  # it has ended
    return done


def looked_up(embconv: Path, fake: Fake, folder: Path) -> Row:
    """Many files identified."""
    files = folder / "files"
    files.mkdir()
    known = list(fake.catalogue.files.values())
    for number in range(LOOKED_UP):
        data = known[number].content() if number < len(known) else known[number - len(known)].content() + b" "
        (files / f"{number}.safetensors").write_bytes(data if number < len(known) else data[:-1] + bytes([number % 251]))
    fake.log.clear()
    report, taken = run(embconv, fake, folder / "looked-up", "identify", str(files), "--rate", "0")
    asked = fake.log.count("/by-hash/ids", host="api")
    text = f"{asked} to by-hash/ids of {fake.log.count(host='api')}; {report['counts']['known']:,} known; {taken:.1f} s"
    return (f"identify {LOOKED_UP:,} files", text, "", f"{ASKED} to by-hash/ids", asked <= ASKED and report["counts"]["known"] >= FILES)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    kills = parser.parse_args().kills
    made = generate(MODELS, files=FILES, oddities=False, tied=TIED)
    with workplace() as folder, serve(made, faults()) as fake:
        embconv = installed(folder) / "embconv"
        rows = [*whole(embconv, fake, folder), killed(embconv, fake, folder, kills), looked_up(embconv, fake, folder)]
    print(table(rows))
    sys.exit(0 if all(row[-1] for row in rows) else 1)


if __name__ == "__main__":
    main()
