"""A registry of any size without the files: rows as an ingest from a site would leave them, written in bulk.

Words, tags and creators follow Zipf's law, names look like those people give. Documents, facts and indexed words are made by
the registry's own functions, so that nothing in such a database differs from one that was filled file by file.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

import msgspec

from embconv.registry.model import FileEntry, Origin
from embconv.registry.store import Store
from embconv.registry.store.arrivals import key_of, text
from embconv.registry.store.documents import columns, words
from embconv.registry.store.rows import Parts, Row, made

VOCABULARY, TAGS = 30_000, 5_000
CHUNK = 5_000
BEGAN = datetime(2022, 9, 1, tzinfo=UTC)
SPAN = 4 * 365 * 86_400_000  # milliseconds
OFTEN = "the and a of with for this to in is it you use on from at by not are but"
TOPICS = (
    "style girl anime negative easy bad hands face realistic art fantasy dark light portrait photo cyber punk neon water color oil"
    " painting sketch ink manga model woman man dragon cat fox elf witch knight robot city night sky forest ocean fire ice gold silver"
    " deep soft sharp detail ultra hyper epic vivid pastel retro vintage film noir horror cute chibi kawaii pixel concept character"
    " landscape texture quality prompt embedding textual inversion trained images version"
)
BEGINNINGS, ENDS = "b c d f g h j k l m n p r s t v w z br cr dr st tr sh ch", "a e i o u ai ou en ar in"
COMMON, REAL = OFTEN.split(), TOPICS.split()  # the common ones are not in names and tags
LICENCES = (
    None, None, None,
    {"allowNoCredit": True, "allowCommercialUse": ["Image", "RentCivit"], "allowDerivatives": True, "allowDifferentLicense": True},
    {"allowNoCredit": True, "allowCommercialUse": ["Image", "RentCivit", "Rent", "Sell"], "allowDerivatives": True},
    {"allowNoCredit": False, "allowCommercialUse": [], "allowDerivatives": False},
    "creativeml-openrail-m",
)  # fmt: skip
BOTH = ("clip_l", "clip_g")
BASES = {"SD 1.5": ("clip_l",), "SDXL 1.0": BOTH, "Pony": BOTH, "SD 2.1": ("clip_h",), "Flux.1 D": ("clip_l",)}
WIDTH = {"clip_l": 768, "clip_g": 1280, "clip_h": 1024}


@cache
def zipf(count: int, exponent: float = 1.0) -> list[float]:
    """Cumulated weights of the 1st, 2nd ... of `count`."""
    return list(itertools.accumulate(1 / (rank + 2) ** exponent for rank in range(count)))


@cache
def vocabulary() -> tuple[str, ...]:
    """What every text is full of, then real words, then made ones, each once."""
    dice = random.Random("vocabulary")
    syllables = [begin + end for begin in BEGINNINGS.split() for end in ENDS.split()]
    made_up = ("".join(dice.choices(syllables, k=dice.randint(2, 4))) for _ in itertools.count())
    return tuple(itertools.islice(dict.fromkeys(itertools.chain(COMMON, REAL, itertools.islice(made_up, 2 * VOCABULARY))), VOCABULARY))


def said(dice: random.Random, least: int, most: int) -> list[str]:
    """Some words of a text."""
    return dice.choices(vocabulary(), cum_weights=zipf(VOCABULARY), k=dice.randint(least, most))


def named(dice: random.Random, count: int, least: int, most: int) -> list[str]:
    """Some words as names and tags have them, of `count` that are used so."""
    return [vocabulary()[len(COMMON) + at] for at in dice.choices(range(count), cum_weights=zipf(count, 0.9), k=dice.randint(least, most))]


def name_of(dice: random.Random, place: int) -> str:
    """EasyNegative, bad_hands-v4, 4knoir ..."""
    parts = named(dice, VOCABULARY - len(COMMON), 1, 3)
    form = dice.random()
    base = "".join(part.title() for part in parts) if form < 0.4 else ("_" if form < 0.7 else "-" if form < 0.8 else "").join(parts)
    return f"{base}{dice.choice(('', '', '_v2', '-v3', 'V1', str(place % 1000)))}"


def parts_of(place: int, creators: int) -> Parts:
    """The rows of one embedding."""
    dice = random.Random(place)
    name, digest, sha256 = name_of(dice, place), hashlib.sha256(b"e%d" % place).hexdigest(), hashlib.sha256(b"f%d" % place).hexdigest()
    claimed = dice.choices(list(BASES), weights=(60, 20, 12, 5, 3))[0]
    vectors = min(75, 1 + int(dice.expovariate(0.12)))
    encoders = {key: {"vectors": vectors, "width": WIDTH[key], "dtype": "F32"} for key in BASES[claimed]}
    moment = BEGAN + timedelta(milliseconds=dice.randrange(SPAN))
    added = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    layout = dice.choices(("a1111", "emb_params", "diffusers", "ldm"), weights=(70, 20, 7, 3))[0] if len(encoders) == 1 else "per_encoder"
    claims = {
        "title": " ".join(named(dice, VOCABULARY - len(COMMON), 2, 5)).title(),
        "base": claimed,
        "role": dice.choices((None, "positive", "negative"), weights=(80, 8, 12))[0],
        "nsfw": dice.choices((None, "pg", "pg13", "r", "x", "xxx"), weights=(50, 25, 10, 7, 5, 3))[0],
        "tags": named(dice, TAGS, 0, 10),
        "creator": f"{vocabulary()[(at := dice.choices(range(creators), cum_weights=zipf(creators, 0.8))[0]) % VOCABULARY]}{at}",
        "downloads": int(dice.lognormvariate(5, 2)),
        "description": " ".join(said(dice, 20, 90)),
        "licence": dice.choice(LICENCES),
    }
    source = dice.choices(("civitai", "huggingface", "sidecar", ""), weights=(70, 8, 12, 10))[0]
    claims = {key: value for key, value in claims.items() if value}
    origin = Origin(source=source, id=str(place), url=f"https://example.org/{place}", seen=added, sha256=sha256, claims=claims)
    crc = hashlib.md5(b"%d" % place).hexdigest()[:8].upper()  # it only has to look like one
    hashes = {"sha256": sha256, "blake3": hashlib.sha256(b"b%d" % place).hexdigest(), "crc32": crc}
    file = FileEntry(sha256=sha256, name=f"{name}.pt", size=dice.randrange(4_000, 90_000), container="torch_zip", layout=layout,
                     added=added, hashes={**hashes, "autov2": sha256[:10]})  # fmt: skip
    row = Row(id=place, digest=digest, name=name, trigger=name.lower() if dice.random() < 0.5 else name, own_base=None, role="unknown",
              encoders=text(encoders), output_encoders="{}", vectors=vectors, findings="[]", nsfw=None, licence=None,
              verdict=dice.choices((None, "pass", "weak", "no_effect", "broken"), weights=(70, 22, 4, 3, 1))[0], notes="", edited="[]",
              added=added, changed=added, state="present")  # fmt: skip
    return Parts(row, [file], [origin] if source else [], {"file_stem": (name,), "inner_name": (name,)}, [])


Tables = dict[str, list[tuple[object, ...]]]
INSERTS = {
    "embeddings": "INSERT INTO embeddings (id, digest, name, name_key, trigger, trigger_key, own_base, encoders, vectors, verdict, added,"
    " base, role, nsfw, licence, downloads, changed, facts, revision) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    "documents": "INSERT INTO documents VALUES (?, ?)",
    "words": "INSERT INTO words (rowid, name, trigger, names, creators, tags, titles, notes, descriptions) VALUES (?,?,?,?,?,?,?,?,?)",
    "files": "INSERT INTO files (id, sha256, name, size, container, layout, hashes, added) VALUES (?,?,?,?,?,?,?,?)",
    "embedding_files": "INSERT INTO embedding_files VALUES (?, ?, 0)",
    "hashes": "INSERT INTO hashes VALUES (?, ?, ?, ?, 0)",
    "names": "INSERT INTO names VALUES (?, ?, ?, ?)",
    "origins": "INSERT INTO origins (embedding_id, sha256, source, source_id, url, seen, state, claims) VALUES (?,?,?,?,?,?,?,?)",
}


def tables_of(job: tuple[int, int, int]) -> Tables:
    """The rows of some embeddings, by table."""
    first, count, creators = job
    tables: Tables = {name: [] for name in INSERTS}
    for place in range(first, first + count):
        parts = parts_of(place, creators)
        result, row, file = made(parts), parts.row, parts.files[0]
        own = (row.own_base, row.encoders, row.vectors, row.verdict, row.added)
        tables["embeddings"].append(
            (place, row.digest, row.name, key_of(row.name), row.trigger, key_of(row.trigger), *own, *columns(result), place)
        )
        tables["documents"].append((place, msgspec.json.encode(result.entry)))
        tables["words"].append((place, *words(result)))
        values = (file.sha256, file.name, file.size, file.container, file.layout, text(file.hashes), file.added)
        tables["files"].append((place, *values))
        tables["embedding_files"].append((place, place))
        tables["hashes"] += [(value.lower(), kind, place, place) for kind, value in file.hashes.items() if kind != "autov2"]
        tables["names"] += [(place, kind, place, name) for kind, names in parts.names.items() for name in names]
        tables["origins"] += [(place, o.sha256, o.source, o.id, o.url, o.seen, o.state, text(o.claims)) for o in parts.origins]
    return tables


def fill(home: str, count: int) -> float:
    """Make a registry of `count` embeddings in a folder where there is none; how many seconds it took."""
    start = time.perf_counter()
    with Store(home) as store:
        path = store.path
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA synchronous = OFF")
    conn.execute("PRAGMA cache_size = -400000")
    conn.execute("PRAGMA wal_autocheckpoint = 20000")
    for tables in chunks(count):
        conn.execute("BEGIN")
        for name, rows in tables.items():
            conn.executemany(INSERTS[name], sorted(rows) if name == "hashes" else rows)  # type: ignore[type-var]  # tuples of one shape
        conn.execute("COMMIT")
    conn.execute("UPDATE revisions SET latest = ?", (count,))
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()
    return time.perf_counter() - start


def chunks(count: int) -> Iterator[Tables]:
    """The rows of all, made by the other cores."""
    creators = max(10, count // 8)
    jobs = [(first, min(CHUNK, count + 1 - first), creators) for first in range(1, count + 1, CHUNK)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap(tables_of, jobs)


if __name__ == "__main__":
    print(f"{fill(sys.argv[1], int(sys.argv[2])):.0f} s")
