"""What Civitai told of once and a walk has not met again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def unseen(db: Database, walk: int, before: str) -> list[tuple[int, str]]:
    """Models that a walk has not met, with how they are listed; those that are gone only if they were last asked for `before`."""
    sql = "SELECT id, shown FROM civitai_models WHERE walk < ? AND (state = 'present' OR asked < ?) ORDER BY id"
    return db.execute(sql, (walk, before)).fetchall()


def unseen_versions(db: Database, walk: int) -> list[int]:
    """Versions that the models of a walk do not name any more."""
    sql = (
        "SELECT v.id FROM civitai_versions v JOIN civitai_models m ON m.id = v.model_id"
        " WHERE v.walk < ? AND v.state = 'present' AND m.walk = ? AND m.state = 'present' ORDER BY v.id"
    )
    return [id_ for (id_,) in db.execute(sql, (walk, walk))]


def longest_unasked(db: Database, shown: str, before: str, limit: int) -> list[int]:
    """Models that are listed so, those first that were not asked for the longest; gone ones only if that was `before`."""
    sql = "SELECT id FROM civitai_models WHERE shown = ? AND (state = 'present' OR asked < ?) ORDER BY asked, id LIMIT ?"
    return [id_ for (id_,) in db.execute(sql, (shown, before, limit))]


def ways(db: Database) -> list[str]:
    """How models are listed, the way first whose models were not asked for the longest."""
    return [shown for shown, _ in db.execute("SELECT shown, min(asked) FROM civitai_models GROUP BY shown ORDER BY 2")]
