"""Files that Civitai offers, as the database has them: what became of each, and what their origins say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..model import Offer, Offered

if TYPE_CHECKING:
    from sqlite_utils import Database

OFFERED = "offer, state, reason, says, again, got"


def offered(row: Sequence[Any]) -> Offered:
    """A row of OFFERED."""
    offer, state, reason, says, again, got = row
    return Offered(offer=msgspec.json.decode(offer, type=Offer), state=state, reason=reason, says=says, again=again, got=got)


def offers(db: Database, *, walk: int | None = None) -> list[Offered]:
    """Every file that Civitai told of, by id; only those met in a walk, where one is given."""
    where, given = ("", ()) if walk is None else (" WHERE walk = ?", (walk,))
    return [offered(row) for row in db.execute(f"SELECT {OFFERED} FROM civitai_files{where} ORDER BY id", given)]  # noqa: S608  # ours


def offers_by_hash(db: Database, hashes: Iterable[str]) -> dict[str, list[Offered]]:
    """Those with one of these sha256, as Civitai says; the oldest version first."""
    wanted = msgspec.json.encode(list(hashes)).decode()
    found: dict[str, list[Offered]] = {}
    for sha256, *row in db.execute(
        f"SELECT sha256, {OFFERED} FROM civitai_files WHERE sha256 IN (SELECT value FROM json_each(?)) ORDER BY version_id, id", (wanted,)  # noqa: S608  # ours
    ):
        found.setdefault(sha256, []).append(offered(row))
    return found


def claims_of(db: Database, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """What the origins of these files say."""
    rows = db.execute("SELECT id, claims FROM civitai_files WHERE id IN (SELECT value FROM json_each(?))", (listed(ids),))
    return {id_: msgspec.json.decode(claims, type=dict[str, Any]) for id_, claims in rows}


def awaited(db: Database, ids: Iterable[int]) -> set[int]:
    """Those of these files that are still to be fetched."""
    sql = "SELECT id FROM civitai_files WHERE id IN (SELECT value FROM json_each(?)) AND state IN ('waiting', 'failed')"
    return {id_ for (id_,) in db.execute(sql, (listed(ids),))}


def versions_holding(db: Database, id: int) -> list[tuple[int, bytes]]:  # noqa: A002  # as everywhere
    """The versions that an embedding is known as, with their bodies."""
    sql = (
        "SELECT DISTINCT v.id, v.body FROM embedding_files l JOIN files f ON f.id = l.file_id JOIN civitai_files c ON c.got = f.sha256"
        " JOIN civitai_versions v ON v.id = c.version_id WHERE l.embedding_id = ? ORDER BY v.id"
    )
    return db.execute(sql, (id,)).fetchall()


def listed(ids: Iterable[int]) -> str:
    """For json_each."""
    return msgspec.json.encode(list(ids)).decode()
