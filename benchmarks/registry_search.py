"""Searching 100,000 embeddings, and with --million 1,000,000, beside raw SQL in the same run: `python benchmarks/registry_search.py`.

The rows are made (see _rows.py) unless --keep names a folder that has them. Eight threads of one process ask one search after
the other, drawn from what people do: they type words letter by letter, take whole names, quote, filter, sort, turn pages.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from _measure import table, workplace
from _rows import COMMON, TAGS, VOCABULARY, fill, vocabulary, zipf

from embconv.registry.columns import Columns
from embconv.registry.query import query_of
from embconv.registry.search import search
from embconv.registry.store import Store, document, matches, resolve

CLIENTS = 8
SEARCHES = 4_000
FACETS = [("facet", "creator"), ("facet", "base"), ("facet", "tag")]
BARS = {100_000: (20, 60), 1_000_000: (60, 200)}  # milliseconds at the 99th percentile: a page, with three facets

Row = tuple[str, str, str, str, bool]
Pairs = list[tuple[str, str]]


def word(dice: random.Random) -> str:
    """A word as it occurs in names, the common ones more often."""
    count = VOCABULARY - len(COMMON)
    return vocabulary()[len(COMMON) + dice.choices(range(count), cum_weights=zipf(count, 0.9))[0]]


def typed(dice: random.Random) -> str:
    """A word that is being typed."""
    return word(dice)[: dice.randint(1, 8)]


FILTERS: Sequence[Callable[[random.Random], tuple[str, str]]] = (
    lambda dice: ("base", dice.choice(("sd1", "sdxl", "sd2"))),
    lambda dice: ("role", dice.choice(("negative", "positive"))),
    lambda dice: ("nsfw", dice.choice(("pg", "pg13", "r"))),
    lambda dice: ("tag", vocabulary()[len(COMMON) + dice.choices(range(TAGS), cum_weights=zipf(TAGS, 0.9))[0]]),
    lambda dice: ("vectors", dice.choice(("1..8", "8", "16.."))),
    lambda dice: ("verdict", dice.choice(("pass", "none"))),
    lambda dice: ("licence", "sell_images"),
    lambda dice: ("added_after", f"202{dice.randint(3, 5)}-06-01"),
)
KINDS: Sequence[tuple[int, Callable[[random.Random], Pairs]]] = (
    (35, lambda dice: [("q", typed(dice))]),
    (15, lambda dice: [("q", f"{word(dice)} {typed(dice)}")]),
    (10, lambda dice: [("q", f"{word(dice)}{word(dice).title()}")]),
    (5, lambda dice: [("q", f'"{word(dice)} {word(dice)}"')]),
    (15, lambda dice: [("q", typed(dice)), dice.choice(FILTERS)(dice)]),
    (10, lambda dice: [*{name: (name, value) for name, value in (dice.choice(FILTERS)(dice), dice.choice(FILTERS)(dice))}.values(),
                       ("sort", dice.choice(("added", "downloads", "name", "-vectors")))]),
    (5, lambda dice: [("sort", dice.choice(("added", "downloads")))]),
    (5, lambda dice: [("q", word(dice)), ("sort", dice.choice(("added", "downloads", "name")))]),
)  # fmt: skip


def searches(seed: str, count: int, extra: Pairs) -> list[Pairs]:
    """What one client asks."""
    dice = random.Random(seed)
    weights = [weight for weight, _ in KINDS]
    return [[*dice.choices([make for _, make in KINDS], weights=weights)[0](dice), *extra] for _ in range(count)]


def clients(ask: Callable[[Pairs], object], jobs: list[list[Pairs]]) -> tuple[list[float], float]:
    """The times of all searches in milliseconds, each client's one after the other; and the processor time of one."""
    times: list[list[float]] = [[] for _ in jobs]

    def client(place: int) -> None:
        for pairs in jobs[place]:
            start = time.perf_counter()
            ask(pairs)
            times[place].append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=client, args=(place,)) for place in range(len(jobs))]
    before = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = sorted(each for of in times for each in of)
    return taken, (time.process_time() - before) * 1000 / len(taken)


def shown(times: Sequence[float]) -> str:
    """p50 and p99."""
    parts = statistics.quantiles(times, n=100)
    return f"p50 {parts[49]:.1f} ms, p99 {parts[98]:.1f} ms, at most {max(times):.0f} ms"


def p99(times: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(times, n=100)[98]


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def raw(store: Store, count: int) -> tuple[list[float], list[float]]:
    """Raw SQL: ranked full-text search for one page, and a GROUP BY over a table of creators with an index."""
    db, dice = store.read.conn, random.Random("raw")
    page = "SELECT d.document FROM words w JOIN documents d ON d.id = w.rowid WHERE words MATCH ? ORDER BY rank LIMIT 50"
    asked = [f'"{word(dice)}" AND "{typed(dice)}"*' for _ in range(100)]
    pages = [timed(lambda expression=expression: db.execute(page, (expression,)).fetchall()) for expression in asked]
    db.execute("CREATE TEMP TABLE creators AS SELECT e.id, c.value AS creator FROM embeddings e, json_each(e.facts, '$[2]') c")
    db.execute("CREATE INDEX temp.creators_creator ON creators (creator)")
    grouped = "SELECT creator, count(*) AS many FROM creators GROUP BY creator ORDER BY many DESC LIMIT 20"
    return pages, [timed(lambda: db.execute(grouped).fetchall()) for _ in range(20)]


def lookups(store: Store, count: int) -> list[float]:
    """By digest, by a hash of a file, by name: the embedding's document each time."""
    dice, db = random.Random("lookups"), store.read
    ids = [dice.randint(1, count) for _ in range(1_000)]
    rows = [msgspec.json.decode(document(db, id_)) for id_ in ids]
    hashes = [row["files"][0]["hashes"] for row in rows]
    refs = [(row["digest"], of["blake3"], of["autov2"])[at % 3] for at, (row, of) in enumerate(zip(rows, hashes, strict=True))]
    for ref in refs:
        matches(db, ref)
    return [timed(lambda ref=ref: (matches(db, ref), document(db, resolve(db, ref)))) for ref in refs]


def measure(home: str, count: int, searching: int) -> tuple[list[Row], list[float]]:
    """One size."""
    bar, facet_bar = BARS[count]
    with Store(home) as store:
        columns = Columns(store)
        loading = timed(columns.refresh)

        def ask(pairs: Pairs) -> object:
            return search(store, columns, query_of(pairs))

        warming = timed(columns.warm)
        early, _ = clients(ask, [searches(f"early {place}", searching // CLIENTS, []) for place in range(CLIENTS)])
        plain, cpu = clients(ask, [searches(f"plain {place}", searching // CLIENTS, []) for place in range(CLIENTS)])
        faceted, facet_cpu = clients(ask, [searches(f"facets {place}", searching // CLIENTS, FACETS) for place in range(CLIENTS)])
        found = lookups(store, count)
        pages, groups = raw(store, count)
        size = columns.bytes() / 1e6
    what = f"a search page of 50 at {count:,}, {CLIENTS} clients, {os.cpu_count()} cores"
    rows = [
        (what, f"{shown(plain)}, {cpu:.1f} ms of processor each", f"ranked SQL alone: {shown(pages)}", f"p99 {bar} ms", p99(plain) <= bar),
        ("the same with three facets, one of them creator", f"{shown(faceted)}, {facet_cpu:.1f} ms of processor each",
         f"one GROUP BY creator alone: {shown(groups)}", f"p99 {facet_bar} ms", p99(faceted) <= facet_bar),
        (f"its first {searching:,} after a start", shown(early),
         f"loading takes {loading:,.0f} ms, warming {warming:,.0f} ms, both beside the first requests; {size:,.0f} MB", "", True),
        ("a lookup by digest or hash, with the document", f"p50 {statistics.median(found):.3f} ms, p99 {p99(found):.3f} ms", "", "", True),
    ]  # fmt: skip
    return rows, found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true", help="1,000,000 rows too; making them takes minutes and 8 GB of disk")
    parser.add_argument("--keep", help="a folder where the rows stay for the next run")
    parser.add_argument("--searches", type=int, default=SEARCHES)
    options = parser.parse_args()
    with workplace() as temporary:
        rows: list[Row] = []
        times = {}
        for count in (100_000, 1_000_000) if options.million else (100_000,):
            home = Path(options.keep or temporary) / str(count)
            if not home.exists():
                print(f"{count:,} rows made in {fill(os.fspath(home), count):.0f} s", file=sys.stderr)
            more, times[count] = measure(os.fspath(home), count, options.searches)
            rows += more
        if options.million:
            small, large = (statistics.median(times[count]) for count in BARS)
            rows.append(("lookups at 1,000,000", f"{large / small:.2f} times those at 100,000", "", "1.5 times", large <= 1.5 * small))
    print(table(rows))
    sys.exit(0 if all(row[-1] for row in rows) else 1)


if __name__ == "__main__":
    main()
