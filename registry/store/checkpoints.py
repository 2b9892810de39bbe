"""The checkpoints that test renders are made with, and what ordinary words measure with each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..render_errors import UnknownCheckpoint
from ..verdicts import Calibration, Checkpoint

if TYPE_CHECKING:
    from sqlite_utils import Database


def put_checkpoint(db: Database, checkpoint: Checkpoint) -> None:
    """Remember one, in place of the one of its name."""
    db.execute(
        "INSERT INTO checkpoints (name, base, body, added) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " base = excluded.base, body = excluded.body",
        (checkpoint.name, checkpoint.base, msgspec.json.encode(checkpoint), checkpoint.added),
    )


def checkpoints(db: Database) -> list[Checkpoint]:
    """All of them, the first of each base before the others: it is the base's default."""
    rows = db.execute("SELECT body FROM checkpoints ORDER BY base, added, rowid")
    return [msgspec.json.decode(body, type=Checkpoint) for (body,) in rows]


def checkpoint_of(db: Database, name: str) -> Checkpoint:
    """One by its name; UnknownCheckpoint."""
    row = db.execute("SELECT body FROM checkpoints WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise UnknownCheckpoint(name, [each.name for each in checkpoints(db)])
    return msgspec.json.decode(row[0], type=Checkpoint)


def drop_checkpoint(db: Database, name: str) -> None:
    """Forget one; its verdicts stay."""
    checkpoint_of(db, name)
    db.execute("DELETE FROM checkpoints WHERE name = ?", (name,))


def put_calibration(db: Database, calibration: Calibration) -> None:
    """Keep what was measured, in place of what was measured before."""
    db.execute(
        "INSERT INTO calibrations (fingerprint, protocol, body, made) VALUES (?, ?, ?, ?) ON CONFLICT (fingerprint, protocol) DO UPDATE SET"
        " body = excluded.body, made = excluded.made",
        (calibration.fingerprint, calibration.protocol, msgspec.json.encode(calibration), calibration.made),
    )


def calibration_of(db: Database, fingerprint: str, measure: str) -> Calibration | None:
    """What was measured with a checkpoint and a protocol (verdicts.measure)."""
    row = db.execute("SELECT body FROM calibrations WHERE fingerprint = ? AND protocol = ?", (fingerprint, measure)).fetchone()
    return msgspec.json.decode(row[0], type=Calibration) if row else None
