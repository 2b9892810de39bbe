"""Work that takes a while: when it was asked for, what of, how it stands and what it came to. Those that workers lease: leases.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..model import Job
from .lines import text

if TYPE_CHECKING:
    from sqlite_utils import Database

COLUMNS = "id, kind, ref, state, created, changed, input, result, attempt, key"


def add_job(db: Database, kind: str, ref: str, given: Any, at: str) -> int:
    """Note that work begins; its number."""
    cursor = db.conn.execute(
        "INSERT INTO jobs (kind, ref, state, created, changed, input) VALUES (?, ?, 'running', ?, ?, ?)", (kind, ref, at, at, text(given))
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def end_job(db: Database, id: int, state: str, result: Any, at: str) -> None:  # noqa: A002  # as everywhere
    """Note how it ended."""
    db.execute("UPDATE jobs SET state = ?, result = ?, changed = ? WHERE id = ?", (state, text(result), at, id))


def interrupt_jobs(db: Database, kind: str, ref: str, at: str) -> None:
    """Those that were running when their process ended. For who knows that nobody runs one."""
    db.execute(
        "UPDATE jobs SET state = 'interrupted', changed = ? WHERE kind = ? AND ref = ? AND state = 'running'", (at, kind, ref)
    )


def jobs(db: Database, kind: str, limit: int, before: int | None = None) -> list[Job]:
    """The latest, the newest first; those `before` a number."""
    sql = f"SELECT {COLUMNS} FROM jobs WHERE kind = ? AND id < ? ORDER BY id DESC LIMIT ?"  # noqa: S608  # ours
    return [job(row) for row in db.execute(sql, (kind, before if before is not None else 1 << 62, limit))]


def job_of(db: Database, kind: str, id: int) -> Job | None:  # noqa: A002  # as everywhere
    """One by its number."""
    row = db.execute(f"SELECT {COLUMNS} FROM jobs WHERE kind = ? AND id = ?", (kind, id)).fetchone()  # noqa: S608  # ours
    return job(row) if row else None


def job(row: tuple[Any, ...]) -> Job:
    """A row."""
    id_, kind, ref, state, created, changed, given, result, attempt, key = row
    return Job(id=id_, kind=kind, ref=ref, state=state, created=created, changed=changed, input=msgspec.json.decode(given),
               result=msgspec.json.decode(result) if result else None, attempt=attempt, key=key)  # fmt: skip
