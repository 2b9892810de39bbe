"""A registry without files for the tests of search, and a search in plain Python over its documents: the oracle."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from embconv.converters import Names
from embconv.registry.model import Arrival, EncoderEntry, Entry, Origin, Prepared, PreparedEmbedding
from embconv.registry.query import FIELDS, Query
from embconv.registry.store import Store, add_origin, arrive, edit, refresh, remove

WORDS = ("red", "reddish", "cat", "catnip", "dog", "night", "knight", "sky", "style", "styles", "дом", "été")
TAGS = ("anime", "dark", "photo", "red cat", "x")
CREATORS = ("Jo", "jo", "Ann", "Bob", "Émile", "李")
LICENCES = (
    {"allowNoCredit": True, "allowCommercialUse": ["Image", "Rent"]}, {"allowNoCredit": False, "allowCommercialUse": []}, "MIT", None,
)  # fmt: skip
SOURCES = ("civitai", "folder", "sidecar")
ENCODERS = {"sd1": {"clip_l": 768}, "sdxl": {"clip_l": 768, "clip_g": 1280}, None: {"unknown_999": 999}}
LAYOUTS = ("a1111", "diffusers", "ldm")


def digest(seed: int) -> str:
    return hashlib.sha256(b"embedding %d" % seed).hexdigest()


def arrival(seed: int, dice: random.Random) -> Arrival:
    """A file with one embedding, as an ingest would have it."""
    name = " ".join(dice.choices(WORDS, k=dice.randint(1, 3)))
    base = dice.choice(list(ENCODERS))
    vectors = dice.randint(1, 6)
    embedding = PreparedEmbedding(
        digest=digest(seed), names=Names(file_stem=name, inner_name=dice.choice(WORDS)), trigger=dice.choice((name, dice.choice(WORDS))),
        base=base, encoders={key: EncoderEntry(vectors=vectors, width=width, dtype="F32") for key, width in ENCODERS[base].items()},
        vectors=vectors,
    )  # fmt: skip
    sha256 = hashlib.sha256(b"file %d %d" % (seed, dice.randrange(3))).hexdigest()
    prepared = Prepared(name=f"{name}.pt", size=1000, sha256=sha256, container="torch_zip", layout=dice.choice(LAYOUTS),
                        hashes={"sha256": sha256}, embeddings=(embedding,))  # fmt: skip
    came = origin(dice) if dice.random() < 0.8 else None
    return Arrival(prepared=prepared, origin=came, tags=tuple(dice.sample(TAGS, dice.randint(0, 3))))


def origin(dice: random.Random) -> Origin:
    claims: dict[str, Any] = {
        "title": " ".join(dice.choices(WORDS, k=2)), "creator": dice.choice(CREATORS), "downloads": dice.choice((0, 0, 5, 5, 7, 1000)),
        "description": " ".join(dice.choices(WORDS, k=4)), "licence": dice.choice(LICENCES), "role": dice.choice((None, "negative")),
        "nsfw": dice.choice((None, "pg", "x")), "tags": dice.sample(TAGS, 2),
    }  # fmt: skip
    said = {key: value for key, value in claims.items() if value}
    return Origin(source=dice.choice(SOURCES), seen="2026-01-01T00:00:00.000Z", claims=said)


def moment(dice: random.Random) -> str:
    return f"2026-0{dice.randint(1, 9)}-01T00:00:0{dice.randint(0, 3)}.000Z"


def add(store: Store, seeds: Iterable[int], dice: random.Random) -> None:
    store.write(lambda db: arrive(db, [arrival(seed, dice) for seed in seeds], moment(dice)))


def change(store: Store, dice: random.Random) -> None:
    """Something happens to some embedding."""
    ids = [row[0] for row in store.read.execute("SELECT id FROM embeddings WHERE state = 'present'").fetchall()]
    if not ids:
        return
    id_ = dice.choice(ids)
    kind = dice.randrange(6)
    if kind == 0:
        store.write(lambda db: edit(db, id_, {"name": " ".join(dice.choices(WORDS, k=2)), "role": dice.choice(("positive", "negative"))}))
    elif kind == 1:
        store.write(lambda db: edit(db, id_, {"tags": dice.sample(TAGS, dice.randint(0, 4)), "notes": dice.choice(WORDS)}))
    elif kind == 2:
        store.write(lambda db: edit(db, id_, {"nsfw": dice.choice((None, "r")), "licence": dice.choice((None, "MIT"))}))
    elif kind == 3:
        store.write(lambda db: add_origin(db, id_, origin(dice)))
    elif kind == 4:
        store.write(lambda db: remove(db, id_, block=dice.random() < 0.3))
    else:
        verdict = dice.choice(("pass", "broken", None))

        def judge(db: Any) -> None:
            db.execute("UPDATE embeddings SET verdict = ? WHERE id = ?", (verdict, id_))
            refresh(db, [id_], moment(dice))

        store.write(judge)


def random_query(dice: random.Random) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    if dice.random() < 0.6:
        words = dice.choices(WORDS, k=dice.randint(0, 2))
        pairs.append(("q", " ".join([*words, dice.choice(WORDS)[: dice.randint(1, 8)]])))
    choices = {
        "base": ("sd1", "sdxl", "none"), "encoder": ("clip_l", "clip_g", "unknown_999"), "role": ("positive", "negative", "unknown"),
        "verdict": ("pass", "broken", "none"), "layout": LAYOUTS, "creator": (*CREATORS, "nobody"), "tag": (*TAGS, "nothing"),
        "licence": ("sell_images", "rent", "no_credit", "mit", "nothing at all"), "nsfw": ("pg", "x", "r", "unrated"),
        "origin": ("any", "none", *SOURCES), "vectors": ("2", "2..4", "5..", "..3"), "added_after": ("2026-03-01", "2026-06-01T00:00:01Z"),
    }  # fmt: skip
    for field in dice.sample(list(choices), dice.choice((0, 0, 1, 1, 2, 3))):
        many = 1 if field in ("vectors", "added_after") else dice.choice((1, 1, 2))
        pairs += [(field, value) for value in dice.sample(choices[field], many)]
    if dice.random() < 0.7:
        pairs.append(("sort", dice.choice(("", "-")) + dice.choice(("relevance", "added", "name", "downloads", "vectors"))))
    pairs += [("facet", field) for field in dice.sample(FIELDS, 3)]
    return pairs


def entries(store: Store) -> dict[int, Entry]:
    """Every document that is here."""
    return {id_: msgspec.json.decode(text, type=Entry) for id_, text in store.read.execute("SELECT id, document FROM documents").fetchall()}


def words_of(*texts: str) -> list[str]:
    return [word.replace("é", "e") for text in texts for word in re.findall(r"\w+", text.lower().replace("_", " "))]


def values(entry: Entry, field: str) -> tuple[str, ...]:
    """The values of a field, by the document."""
    if field == "encoder":
        return tuple(entry.encoders)
    if field == "layout":
        return tuple({file.layout for file in entry.files})
    if field == "licence":
        return entry.licence.permits if entry.licence else ()
    several = {"tag": entry.tags, "creator": entry.creators}
    if field in several:
        return several[field]
    return (getattr(entry, field) or {"nsfw": "unrated"}.get(field, "none"),)


def fits(entry: Entry, query: Query) -> bool:
    for field, wanted in query.filters.items():
        own = {value.casefold() for value in values(entry, field)}
        found = [value in own for value in wanted]
        if not (all(found) if field in ("tag", "licence") else any(found)):
            return False
    sources = {origin.source for origin in entry.origins}
    if query.origin and not ({*query.origin} & sources or ("any" in query.origin and sources) or ("none" in query.origin and not sources)):
        return False
    least, most = query.vectors or (None, None)
    if entry.vectors < (least or 0) or (most is not None and entry.vectors > most):
        return False
    if query.added_after is not None and entry.added <= query.added_after:
        return False
    return not query.q.strip() or says(entry, query.q, everywhere=True)


def texts_of(entry: Entry) -> tuple[list[str], list[str], list[str]]:
    """Own names; what is said in short; what is said at length."""
    names = [name for kind in entry.names.values() for name in kind]
    newest: dict[str, Any] = {origin.source: origin.claims for origin in entry.origins if origin.claims}
    told = [claims.get("description", "") for claims in newest.values()]
    titles = [claims.get("title", "") for claims in newest.values()]
    short = [*names, *(file.name for file in entry.files), *entry.creators, *entry.tags, *titles]
    return [entry.name, entry.trigger], short, [entry.notes, *told]


def says(entry: Entry, q: str, *, everywhere: bool = False, short: bool = False) -> bool:
    own, said, told = texts_of(entry)
    found = words_of(*own, *(said if short or everywhere else ()), *(told if everywhere else ()))
    *words, last = words_of(q)
    return all(word in found for word in words) and any(word.startswith(last) for word in found)


def tier(entry: Entry, q: str) -> int:
    *words, last = words_of(q)
    line, names = " ".join(q.split()).casefold(), [entry.name.casefold(), entry.trigger.casefold()]
    if line in names:
        return 0
    if any(name.startswith(line) for name in names):
        return 1
    asked = q if len(last) >= 3 else " ".join(words)  # a short prefix is not looked for
    if not asked:
        return 4
    if len(last) < 3:
        own, said, _ = texts_of(entry)
        if all(word in words_of(*own) for word in words):
            return 2
        return 3 if all(word in words_of(*own, *said) for word in words) else 4
    return 2 if says(entry, asked) else 3 if says(entry, asked, short=True) else 4


def expected(store: Store, query: Query) -> list[int]:
    """The ids of all that fits, in order."""
    found = {id_: entry for id_, entry in entries(store).items() if fits(entry, query)}
    sign = -1 if query.descending else 1
    if query.sort == "name":
        return sorted(found, key=lambda id_: (found[id_].name.casefold().encode(), id_), reverse=query.descending)
    keys = {
        "added": lambda id_: (found[id_].added, id_), "downloads": lambda id_: (found[id_].downloads, id_),
        "vectors": lambda id_: (found[id_].vectors, id_),
        "relevance": lambda id_: (-tier(found[id_], query.q), found[id_].downloads, id_),
    }  # fmt: skip
    return sorted(found, key=keys[query.sort], reverse=sign < 0)


def counted(store: Store, ids: Iterable[int], field: str) -> Counter[str]:
    found = entries(store)
    return Counter(value for id_ in ids for value in set(values(found[id_], field)))


def ids_of(store: Store, items: Iterable[bytes]) -> list[int]:
    digests = [msgspec.json.decode(item)["digest"].removeprefix("emb:") for item in items]
    return [store.read.execute("SELECT id FROM embeddings WHERE digest = ?", (each,)).fetchone()[0] for each in digests]

