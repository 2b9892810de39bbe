"""Verdicts with their pictures: kept once for each question, shown with their embedding, gone with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from ..model import Preview
from ..verdicts import ENGINE, Cell, KeptVerdict, Protocol, Render, Verdict, measure, shown_of, verdict_key
from .checkpoints import checkpoints
from .documents import must_be_here, refresh
from .previews import unnamed

if TYPE_CHECKING:
    from sqlite_utils import Database

    from ..verdicts import Checkpoint

FIELDS = "v.id, v.key, e.digest, v.made, v.body"
Place = tuple[str, int]  # of a verdict among those on its embedding: when it was made, and its number
LATEST: Place = ("~", 0)  # before all of them


class Asked(Struct, frozen=True):
    """One question: which embedding, with which checkpoint (`summary`: what its verdict says of it), how."""

    digest: str
    summary: dict[str, Any]
    protocol: Protocol

    @property
    def fingerprint(self) -> str:
        """Of the checkpoint."""
        return str(self.summary["fingerprint"])

    @property
    def key(self) -> str:
        """The identity of the answer."""
        return verdict_key(self.digest, self.fingerprint, self.protocol)


def keep_verdict(db: Database, asked: Asked, verdict: Verdict, renders: Sequence[Render], at: str) -> tuple[KeptVerdict, list[str]]:
    """Keep an answer, in place of an earlier one to the same question; and the sha256 of bytes that nothing names any more.

    The embedding shows it from now on, as far as `settle` says. Raises UnknownReference, or Gone for one that was removed meanwhile.
    The pictures' bytes are blobs already; those that nothing names are the caller's to drop.
    """
    row = db.execute("SELECT id FROM embeddings WHERE digest = ?", (asked.digest.removeprefix("emb:"),)).fetchone()
    id_: int = row[0] if row else 0
    must_be_here(db, id_)
    number: int = db.execute(
        "INSERT INTO verdicts (key, embedding_id, fingerprint, protocol, engine, state, body, made) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET state = excluded.state, body = excluded.body, made = excluded.made RETURNING id",
        (asked.key, id_, asked.fingerprint, measure(asked.protocol), ENGINE, verdict.state, msgspec.json.encode(verdict), at),
    ).fetchall()[0][0]
    old = db.execute("DELETE FROM renders WHERE verdict_id = ? RETURNING sha256", (number,)).fetchall()
    db.conn.executemany(
        "INSERT INTO renders (verdict_id, place, sha256, size, cell) VALUES (?, ?, ?, ?, ?)",
        [(number, place, each.id, each.size, msgspec.json.encode(each.cell)) for place, each in enumerate(renders)],
    )
    settle(db, [id_], at)
    kept = verdict_by_key(db, asked.key)
    assert kept is not None
    return kept, unnamed(db, dict.fromkeys(sha256 for (sha256,) in old if sha256))


def settle(db: Database, ids: Iterable[int], at: str) -> None:
    """Which verdict an embedding shows, where there are several: the latest of its base's default checkpoint, else the latest of all.

    One that says `error` says nothing of the embedding, so it is shown only where there is no other.
    """
    defaults = {base: checkpoint.fingerprint for base, checkpoint in defaults_of(db).items()}
    changed: list[int] = []
    for id_ in ids:
        (base,) = db.execute("SELECT base FROM embeddings WHERE id = ?", (id_,)).fetchone()
        row = db.execute(
            "SELECT state FROM verdicts WHERE embedding_id = ? ORDER BY state = 'error', fingerprint = ? DESC, made DESC, id DESC LIMIT 1",
            (id_, defaults.get(base, "")),
        ).fetchone()
        state = row[0] if row else None
        if db.execute("UPDATE embeddings SET verdict = ? WHERE id = ? AND verdict IS NOT ? RETURNING id", (state, id_, state)).fetchall():
            changed.append(id_)
    refresh(db, changed, at)


def judged_of(db: Database, base: str) -> list[int]:
    """The embeddings of a base that have verdicts."""
    sql = "SELECT DISTINCT e.id FROM verdicts v JOIN embeddings e ON e.id = v.embedding_id WHERE e.base = ? ORDER BY e.id"
    return [id_ for (id_,) in db.execute(sql, (base,))]


def base_of(db: Database, embedding_id: int) -> str | None:
    """The base of an embedding that is or was here."""
    base: str | None = db.execute("SELECT base FROM embeddings WHERE id = ?", (embedding_id,)).fetchone()[0]
    return base


def defaults_of(db: Database) -> dict[str, Checkpoint]:
    """Base -> the checkpoint that is meant where none is named: the first that was added."""
    found: dict[str, Checkpoint] = {}
    for each in checkpoints(db):
        found.setdefault(each.base, each)
    return found


def verdict_by_key(db: Database, key: str) -> KeptVerdict | None:
    """The answer to a question, if it was answered and its embedding is here."""
    sql = f"SELECT {FIELDS} FROM verdicts v JOIN embeddings e ON e.id = v.embedding_id WHERE v.key = ? AND e.state = 'present'"  # noqa: S608  # ours
    row = db.execute(sql, (key,)).fetchone()
    return kept(db, row) if row else None


def is_whole(db: Database, verdict: KeptVerdict) -> bool:
    """Are all pictures of a verdict here? See `lose_render`."""
    return db.execute("SELECT 1 FROM renders WHERE verdict_id = ? AND sha256 = ''", (verdict.id,)).fetchone() is None


def verdicts_of(db: Database, embedding_id: int, limit: int = -1, after: Place = LATEST) -> list[KeptVerdict]:
    """The verdicts on an embedding, the latest first: all of them, or at most so many of those `after` a place."""
    sql = (
        f"SELECT {FIELDS} FROM verdicts v JOIN embeddings e ON e.id = v.embedding_id"  # noqa: S608  # ours
        " WHERE e.id = ? AND (v.made, v.id) < (?, ?) ORDER BY v.made DESC, v.id DESC LIMIT ?"
    )
    return [kept(db, row) for row in db.execute(sql, (embedding_id, *after, limit)).fetchall()]


def count_of(db: Database, embedding_id: int) -> int:
    """How many verdicts there are on an embedding."""
    count: int = db.execute("SELECT count(*) FROM verdicts WHERE embedding_id = ?", (embedding_id,)).fetchone()[0]
    return count


def kept(db: Database, row: Sequence[Any]) -> KeptVerdict:
    """A row of FIELDS with its pictures."""
    id_, key, digest, made, body = row
    renders = db.execute("SELECT sha256, size, cell FROM renders WHERE verdict_id = ? AND sha256 <> '' ORDER BY place", (id_,))
    return KeptVerdict(id=id_, key=key, digest=f"emb:{digest}", made=made, verdict=msgspec.json.decode(body, type=Verdict),
                       renders=tuple(render(each) for each in renders))  # fmt: skip


def render(row: Sequence[Any]) -> Render:
    """A picture from sha256, size, cell."""
    return Render(id=row[0], size=row[1], cell=msgspec.json.decode(row[2], type=Cell))


def render_by_id(db: Database, sha256: str) -> Render | None:
    """A picture by the sha256 of its bytes. Those of a removed embedding are gone with it."""
    row = db.execute("SELECT sha256, size, cell FROM renders WHERE sha256 = ? LIMIT 1", (sha256,)).fetchone()
    return render(row) if row else None


def shown_render(db: Database, embedding_id: int) -> Preview | None:
    """A picture that shows what an embedding does."""
    found = shown_of(verdicts_of(db, embedding_id))
    return Preview(sha256=found.id, source="validation", width=found.cell.width, height=found.cell.height, added="") if found else None


def unjudged(db: Database, base: str, fingerprint: str, protocol: Protocol, limit: int | None, *, again: bool = False) -> list[str]:
    """The digests of what is here of a base and was not yet judged by this checkpoint, protocol and engine; the longest here first.

    `again`: instead of what was never tried, that of which nothing is known but an `error`; another time it may be judged.
    """
    sql = (
        "SELECT e.digest FROM embeddings e LEFT JOIN verdicts v"
        " ON v.embedding_id = e.id AND v.fingerprint = ? AND v.protocol = ? AND v.engine = ?"
        " WHERE e.state = 'present' AND e.base = ? GROUP BY e.id HAVING count(v.id) = sum(v.state IS 'error')"
        " AND (count(v.id) > 0) = ? ORDER BY e.id LIMIT ?"
    )
    found = db.execute(sql, (fingerprint, measure(protocol), ENGINE, base, again, -1 if limit is None else limit))
    return [f"emb:{digest}" for (digest,) in found]
