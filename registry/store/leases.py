"""Jobs for workers: asked for once, leased in groups for a while, done once; the one that breaks its worker is found by halving.

A lease carries the job's attempt, which only rises: who lost a job to another cannot end it any more. `crowd` of a job is how many
were leased together when their worker broke off, 0 where none ever did; such jobs are leased in groups of half of that, so that the
one at fault ends up alone, and all others get done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from ..render_errors import TooManyWaiting
from .lines import text

if TYPE_CHECKING:
    from sqlite_utils import Database

FOR_GOOD = 1  # the crowd of a job whose worker broke off with it alone: when that comes again, it is at fault


class Lease(Struct, frozen=True):
    """A job in somebody's hands. `by` and `attempt` prove it; `input` is what was asked."""

    id: int
    ref: str
    key: str
    batch: str
    attempt: int
    crowd: int
    by: str
    input: Any


class Group(Struct, frozen=True):
    """Waiting jobs that may be leased together: how many, the first of them, and when it was asked for."""

    batch: str
    crowd: int
    count: int
    first: int
    asked: str


def add_waiting(db: Database, kind: str, ref: str, given: Any, at: str, *, key: str, batch: str, most: int | None = None) -> int:
    """The number of a job that waits to be leased; who asks for the same while it waits or runs gets the same one.

    Raises TooManyWaiting where `most` of its kind wait already.
    """
    known = db.execute("SELECT id FROM jobs WHERE key = ? AND state IN ('waiting', 'running')", (key,)).fetchone()
    if known:
        return int(known[0])
    if most is not None and db.execute("SELECT count(*) FROM jobs WHERE kind = ? AND state = 'waiting'", (kind,)).fetchone()[0] >= most:
        raise TooManyWaiting(most)
    cursor = db.conn.execute(
        "INSERT INTO jobs (kind, ref, state, created, changed, input, key, batch) VALUES (?, ?, 'waiting', ?, ?, ?, ?, ?)",
        (kind, ref, at, at, text(given), key, batch),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def groups(db: Database, kind: str, only: Collection[int] | None = None) -> list[Group]:
    """What waits; of the jobs `only`, where they are given."""
    sql = (
        "SELECT batch, crowd, count(*), min(id), min(created) FROM jobs"  # noqa: S608  # ours
        f" WHERE kind = ? AND state = 'waiting'{AMONG} GROUP BY batch, crowd"
    )
    return [Group(*row) for row in db.execute(sql, (kind, *among(only)))]


def lease(
    db: Database, group: Group, kind: str, by: str, most: int, *, at: str, until: str, only: Collection[int] | None = None
) -> list[Lease]:
    """Take jobs of a group, the first that were asked for; nobody else has them until then."""
    count = max(1, min(most, group.crowd // 2 if group.crowd else most))
    rows = db.execute(
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, leased_by = ?, leased_until = ?, changed = ?"  # noqa: S608  # ours
        f" WHERE id IN (SELECT id FROM jobs WHERE kind = ? AND state = 'waiting' AND batch = ? AND crowd = ?{AMONG} ORDER BY id LIMIT ?)"
        f" RETURNING {FIELDS}",
        (by, until, at, kind, group.batch, group.crowd, *among(only), count),
    ).fetchall()
    return [lease_of(row) for row in sorted(rows)]


FIELDS = "id, ref, key, batch, attempt, crowd, leased_by, input"


def lease_of(row: Sequence[Any]) -> Lease:
    """A row of FIELDS."""
    id_, ref, key, batch, attempt, crowd, by, given = row
    return Lease(id_, ref, key, batch, attempt, crowd, by, msgspec.json.decode(given))


AMONG = " AND (? IS NULL OR id IN (SELECT value FROM json_each(?)))"


def among(only: Collection[int] | None) -> tuple[str | None, str]:
    """The parameters of AMONG."""
    return (None, "[]") if only is None else ("", msgspec.json.encode(sorted(only)).decode())


def renew(db: Database, kind: str, by: str, until: str) -> None:
    """Hold what somebody has leased for longer."""
    db.execute("UPDATE jobs SET leased_until = ? WHERE kind = ? AND leased_by = ? AND state = 'running'", (until, kind, by))


def finish(db: Database, held: Lease, state: str, result: Any, at: str) -> bool:
    """Note how a job ended; False where it is not in these hands any more, and then nothing may be kept of it."""
    cursor = db.conn.execute(
        "UPDATE jobs SET state = ?, result = ?, changed = ?, leased_until = NULL"
        " WHERE id = ? AND attempt = ? AND leased_by = ? AND state = 'running'",
        (state, text(result), at, held.id, held.attempt, held.by),
    )
    return cursor.rowcount == 1


def finish_waiting(db: Database, kind: str, beginning: str, state: str, result: Any, at: str) -> list[str]:
    """End all that wait and whose batch begins so; what they were of."""
    rows = db.execute(
        "UPDATE jobs SET state = ?, result = ?, changed = ? WHERE kind = ? AND state = 'waiting' AND batch BETWEEN ? AND ? RETURNING ref",
        (state, text(result), at, kind, beginning, f"{beginning}~"),
    ).fetchall()
    return [ref for (ref,) in rows]


def give_back(db: Database, kind: str, by: str, at: str, only: Collection[int] | None = None) -> None:
    """Let others have what somebody leased, or `only` some of it; that it was not done is no job's fault."""
    sql = (
        "UPDATE jobs SET state = 'waiting', leased_by = NULL, leased_until = NULL, changed = ?"  # noqa: S608  # ours
        f" WHERE kind = ? AND leased_by = ? AND state = 'running'{AMONG}"
    )
    db.execute(sql, (at, kind, by, *among(only)))


def running(db: Database, kind: str, only: Collection[int] | None = None) -> list[str]:
    """Who holds jobs, each once."""
    sql = f"SELECT DISTINCT leased_by FROM jobs WHERE kind = ? AND state = 'running'{AMONG}"  # noqa: S608  # ours
    return [by for (by,) in db.execute(sql, (kind, *among(only)))]


def lapsed(db: Database, kind: str, dead: Collection[str], at: str) -> list[list[Lease]]:
    """What is held by the dead, and by those who did not renew it in time, those of each holder together."""
    rows = db.execute(
        f"SELECT {FIELDS} FROM jobs WHERE kind = ? AND state = 'running'"  # noqa: S608  # ours
        " AND (leased_until < ? OR leased_by IN (SELECT value FROM json_each(?))) ORDER BY id",
        (kind, at, msgspec.json.encode(sorted(dead)).decode()),
    ).fetchall()
    found: defaultdict[str, list[Lease]] = defaultdict(list)
    for row in rows:
        found[row[6]].append(lease_of(row))
    return list(found.values())


def broken_off(db: Database, held: Sequence[Lease], at: str) -> Lease | None:
    """These were in one worker's hands when it broke off: they wait again, its name still on them, to be tried in smaller groups.

    The one that was alone, and not for the first time, is returned: it is still held, and the caller's to end.
    """
    sql = "SELECT 1 FROM jobs WHERE id = ? AND attempt = ? AND leased_by = ? AND state = 'running'"
    still = [each for each in held if db.execute(sql, (each.id, each.attempt, each.by)).fetchone()]
    if len(still) == 1 and still[0].crowd == FOR_GOOD:
        return still[0]
    db.conn.executemany(
        "UPDATE jobs SET state = 'waiting', leased_until = NULL, crowd = ?, changed = ? WHERE id = ?",
        [(len(still), at, each.id) for each in still],
    )
    return None


def done_by(db: Database, kind: str, beginning: str, since: str) -> int:
    """How many jobs those have ended, since then, whose names begin so."""
    sql = (
        "SELECT count(*) FROM jobs WHERE kind = ? AND state IN ('done', 'failed') AND changed >= ?"
        " AND leased_by BETWEEN ? AND ?"
    )
    count: int = db.execute(sql, (kind, since, beginning, f"{beginning}~")).fetchone()[0]
    return count


def halved(db: Database, kind: str, since: str) -> int:
    """How many jobs wait to be tried in smaller groups than before, because one broke off since then."""
    sql = "SELECT count(*) FROM jobs WHERE kind = ? AND state = 'waiting' AND crowd > ? AND leased_by IS NOT NULL AND changed >= ?"
    count: int = db.execute(sql, (kind, FOR_GOOD, since)).fetchone()[0]
    return count
