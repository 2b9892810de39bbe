"""What operators look at: refusals, and how much there is of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import asdict

from ..model import Refusal

if TYPE_CHECKING:
    from sqlite_utils import Database


def refuse(db: Database, refusal: Refusal) -> None:
    """Write down that a file was not taken, and why."""
    db.execute(
        "INSERT INTO refusals (at, sha256, name, size, code, says, source) VALUES (:at, :sha256, :name, :size, :code, :says, :source)",
        asdict(refusal),
    )


def refusals(db: Database, limit: int = 50, before: int | None = None) -> list[tuple[int, Refusal]]:
    """The latest refusals with their ids, the newest first; those `before` an id, for the next page."""
    rows = db.execute(
        "SELECT id, at, sha256, name, size, code, says, source FROM refusals WHERE id < ? ORDER BY id DESC LIMIT ?",
        (before if before is not None else (1 << 62), limit),
    )
    return [
        (id_, Refusal(at=at, sha256=sha256, name=name, size=size, code=code, says=says, source=source))
        for id_, at, sha256, name, size, code, says, source in rows
    ]


COUNTS = {
    "removed": "SELECT count(*) FROM embeddings WHERE state = 'removed'",
    "blocked": "SELECT count(*) FROM embeddings WHERE state = 'blocked'",
    "files": "SELECT count(*) FROM files WHERE removed IS NULL",
    "bytes": "SELECT coalesce(sum(size), 0) FROM files WHERE removed IS NULL",
    "origins": "SELECT count(*) FROM origins",
    "refusals": "SELECT count(*) FROM refusals",
    "keys": "SELECT count(*) FROM keys WHERE revoked IS NULL",
    "verdicts": "SELECT count(*) FROM verdicts",
    "validations": "SELECT count(*) FROM jobs WHERE kind = 'validation' AND state IN ('waiting', 'running')",
}


def counts(db: Database) -> dict[str, int]:
    """How much there is: embeddings, removed, blocked, files, bytes, origins, refusals, keys, verdicts, validations that have not ended."""
    found: dict[str, int] = {name: db.execute(sql).fetchone()[0] for name, sql in COUNTS.items()}
    (total,) = db.execute("SELECT count(*) FROM embeddings").fetchone()
    return {"embeddings": total - found["removed"] - found["blocked"], **found}


def has_foreign_bytes(db: Database) -> bool:
    """Was this database made where bytes lay already? They may be all that is left of an older one."""
    return db.execute("SELECT 1 FROM sync_state WHERE source = 'home' AND key = 'bytes_before'").fetchone() is not None


def check_writable(db: Database) -> None:
    """Change something and nothing: it fails where the database cannot be written. For Store.write."""
    db.execute("UPDATE revisions SET latest = latest")
