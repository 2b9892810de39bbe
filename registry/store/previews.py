"""Pictures of embeddings, fetched or rendered: which there are, and whose bytes they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..model import Preview
from .lines import text

if TYPE_CHECKING:
    from sqlite_utils import Database

FIELDS = "p.sha256, p.source, p.width, p.height, p.nsfw, p.recipe, p.added"


def add_preview(db: Database, embedding_id: int, preview: Preview) -> list[str]:
    """Keep a picture, in place of the one from the same source. The sha256 of bytes that nothing names any more: the caller's to drop.

    Its bytes are a blob already. The same picture from another source adds nothing.
    """
    same = db.execute("SELECT source FROM previews WHERE embedding_id = ? AND sha256 = ?", (embedding_id, preview.sha256)).fetchall()
    if any(source != preview.source for (source,) in same):
        return []
    before = db.execute("SELECT sha256 FROM previews WHERE embedding_id = ? AND source = ?", (embedding_id, preview.source)).fetchone()
    db.execute(
        "INSERT INTO previews (embedding_id, source, sha256, width, height, nsfw, recipe, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (embedding_id, source) DO UPDATE SET sha256 = excluded.sha256, width = excluded.width, height = excluded.height,"
        " nsfw = excluded.nsfw, recipe = excluded.recipe"
        " WHERE (sha256, width, height, nsfw, recipe) IS NOT"
        " (excluded.sha256, excluded.width, excluded.height, excluded.nsfw, excluded.recipe)",
        (embedding_id, preview.source, preview.sha256, preview.width, preview.height, preview.nsfw, text(preview.recipe), preview.added),
    )
    return unnamed(db, [before[0]]) if before and before[0] != preview.sha256 else []


def previews_of(db: Database, embedding_id: int) -> list[Preview]:
    """The pictures of an embedding, the first that came first; of those that came together the one called so (`X.preview.png`)."""
    sql = f"SELECT {FIELDS} FROM previews p WHERE embedding_id = ? ORDER BY added, source NOT LIKE '%.preview.%', source"  # noqa: S608  # ours
    return [preview(row) for row in db.execute(sql, (embedding_id,))]


def preview_by_sha256(db: Database, sha256: str) -> Preview | None:
    """A picture of an embedding that is here, by the hash of its bytes."""
    sql = (
        f"SELECT {FIELDS} FROM previews p JOIN embeddings e ON e.id = p.embedding_id"  # noqa: S608  # ours
        " WHERE p.sha256 = ? AND e.state = 'present' ORDER BY p.added LIMIT 1"
    )
    row = db.execute(sql, (sha256,)).fetchone()
    return preview(row) if row else None


def preview(row: Sequence[Any]) -> Preview:
    """A row of FIELDS."""
    sha256, source, width, height, nsfw, recipe, added = row
    told = msgspec.json.decode(recipe, type=dict[str, Any])
    return Preview(sha256=sha256, source=source, width=width, height=height, nsfw=nsfw, recipe=told, added=added)


def present_previews(db: Database) -> list[tuple[str, str]]:
    """The sha256 of every picture of what is here, each once, and where it came from."""
    sql = (
        "SELECT p.sha256, min(p.source) FROM previews p JOIN embeddings e ON e.id = p.embedding_id WHERE e.state = 'present'"
        " GROUP BY p.sha256 ORDER BY p.sha256"
    )
    return db.execute(sql).fetchall()


def forget_previews(db: Database, embedding_id: int) -> list[str]:
    """Take away the pictures of an embedding; the sha256 of their bytes."""
    return [sha256 for (sha256,) in db.execute("DELETE FROM previews WHERE embedding_id = ? RETURNING sha256", (embedding_id,)).fetchall()]


def lose_preview(db: Database, sha256: str) -> None:
    """Take away every row of a picture whose bytes are lost."""
    db.execute("DELETE FROM previews WHERE sha256 = ?", (sha256,))


def present_renders(db: Database) -> list[tuple[str, str]]:
    """The sha256 of every picture of a verdict, each once, and whose it is."""
    sql = (
        "SELECT r.sha256, 'of the test render of ' || min(e.name) FROM renders r JOIN verdicts v ON v.id = r.verdict_id"
        " JOIN embeddings e ON e.id = v.embedding_id WHERE r.sha256 <> '' GROUP BY r.sha256 ORDER BY r.sha256"
    )
    return db.execute(sql).fetchall()


def forget_verdicts(db: Database, embedding_id: int) -> list[str]:
    """Take away the verdicts on an embedding with their pictures; the sha256 of their bytes."""
    sql = "DELETE FROM renders WHERE verdict_id IN (SELECT id FROM verdicts WHERE embedding_id = ?) RETURNING sha256"
    lost = [sha256 for (sha256,) in db.execute(sql, (embedding_id,)).fetchall() if sha256]
    db.execute("DELETE FROM verdicts WHERE embedding_id = ?", (embedding_id,))
    db.execute("UPDATE embeddings SET verdict = NULL WHERE id = ?", (embedding_id,))
    return lost


def lose_render(db: Database, sha256: str) -> None:
    """A verdict's picture whose bytes are lost is shown no more; the verdict stays, and the picture's place, so that the loss is known."""
    db.execute("UPDATE renders SET sha256 = '', size = 0 WHERE sha256 = ?", (sha256,))


def unnamed(db: Database, candidates: Iterable[str]) -> list[str]:
    """Those sha256 that no file and no picture here has. Within a write this stays true until it ends, so their bytes may go.

    Verdicts go with their embedding, so whatever a row of `renders` names is here.
    """
    sql = (
        "SELECT v.value FROM json_each(?) v LEFT JOIN files f ON f.sha256 = v.value AND f.removed IS NULL WHERE f.id IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM previews p JOIN embeddings e ON e.id = p.embedding_id"
        " WHERE p.sha256 = v.value AND e.state = 'present')"
        " AND NOT EXISTS (SELECT 1 FROM renders r WHERE r.sha256 = v.value)"
    )
    return [sha256 for (sha256,) in db.execute(sql, (msgspec.json.encode(list(candidates)).decode(),))]
