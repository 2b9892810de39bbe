"""Lines of origin, which are only ever added; and values as the text that stands in a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..model import Origin

if TYPE_CHECKING:
    from sqlite_utils import Database


def add_line(db: Database, id_: int, origin: Origin) -> None:
    """Add a line of origin, unless the last one of that source says the same."""
    said = (origin.url, origin.state, text(origin.claims))
    last = db.execute(
        "SELECT url, state, claims FROM origins WHERE embedding_id = ? AND source = ? AND source_id IS ? AND sha256 IS ?"
        " ORDER BY id DESC LIMIT 1",
        (id_, origin.source, origin.id, origin.sha256),
    ).fetchone()
    if last == said:
        return
    db.conn.execute(
        "INSERT INTO origins (embedding_id, sha256, source, source_id, seen, url, state, claims) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (id_, origin.sha256, origin.source, origin.id, origin.seen, *said),
    )


def text(value: Any) -> str:
    """JSON, the same for equal values."""
    return msgspec.json.encode(value, order="deterministic").decode()
