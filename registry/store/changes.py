"""What people change: names, roles, tags; removal, which leaves a tombstone; and what has changed since when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from ..claims import licence
from ..errors import BadParameter, UnknownParameter
from ..model import NSFW, ROLES, Origin
from ..times import now
from .arrivals import key_of, mark
from .documents import must_be_here, refresh
from .lines import add_line, text
from .previews import forget_previews, forget_verdicts, unnamed
from .rows import tidy

if TYPE_CHECKING:
    from sqlite_utils import Database

NAME, NOTES, LICENCE, TAGS = 200, 65_536, 1_024, 200  # characters of a name, of notes, of a licence; how many tags
CLAIMS = 65_536  # bytes of what one origin says


def edit(db: Database, id: int, changes: dict[str, Any]) -> None:  # noqa: A002  # it is called so everywhere
    """Set fields as a person wants them: name, role, tags, notes, nsfw, licence. No claim changes those from then on."""
    must_be_here(db, id)
    for field in changes:
        if field not in FIELDS:
            raise UnknownParameter(field, FIELDS)
    values = {field: FIELDS[field](field, value) for field, value in changes.items()}
    if "name" in values:
        values["name_key"] = key_of(values["name"])
    tags = values.pop("tags", None)
    if values:
        sets = ", ".join(f"{field} = :{field}" for field in values)
        db.execute(f"UPDATE embeddings SET {sets} WHERE id = :id", {**values, "id": id})  # noqa: S608  # our own names, from FIELDS
    if tags is not None:
        db.execute("DELETE FROM tags WHERE embedding_id = ?", (id,))
        db.conn.executemany("INSERT INTO tags (embedding_id, tag) VALUES (?, ?)", [(id, tag) for tag in tags])
    mark(db, id, changes)
    refresh(db, [id], now())


def _name(field: str, value: object) -> str:
    said = " ".join(value.split()) if isinstance(value, str) else ""
    if not 0 < len(said) <= NAME or not said.isprintable():
        raise BadParameter(field, shown(value), f"a line of 1 to {NAME} characters")
    return said


def _role(field: str, value: object) -> str:
    if value not in ROLES:
        raise BadParameter(field, shown(value), f"one of {', '.join(ROLES)}", ROLES)
    return str(value)


def _tags(field: str, value: object) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(tag, str) for tag in value):
        raise BadParameter(field, shown(value), "a list of words")
    if len(value) > TAGS:
        raise BadParameter(field, f"{len(value)} of them", f"at most {TAGS}")
    return tidy(value)


def _notes(field: str, value: object) -> str:
    if value is not None and (not isinstance(value, str) or len(value) > NOTES):
        raise BadParameter(field, shown(value), f"a text of at most {NOTES:,} characters")
    return value or ""


def _nsfw(field: str, value: object) -> str | None:
    if value is not None and value not in NSFW:
        raise BadParameter(field, shown(value), f"one of {', '.join(NSFW)}, or nothing", NSFW)
    return None if value is None else str(value)


def _licence(field: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > LICENCE):
        raise BadParameter(field, shown(value), f"a text of at most {LICENCE:,} characters, or nothing")
    return text(licence(value, "person")) if value and value.strip() else None


def shown(value: object) -> str:
    """A wrong value for a message."""
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=repr).decode()


FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "name": _name, "role": _role, "tags": _tags, "notes": _notes, "nsfw": _nsfw, "licence": _licence,
}  # fmt: skip


def checked(field: str, value: Any) -> Any:
    """A value that a person gives for a field, as it is kept; BadParameter where it means nothing."""
    return FIELDS[field](field, value)


def add_origin(db: Database, id: int, origin: Origin) -> None:  # noqa: A002  # it is called so everywhere
    """Add a line to where it came from; nothing where the last of that source says the same."""
    must_be_here(db, id)
    must_be_small(origin)
    add_line(db, id, replace(origin, seen=origin.seen or now()))
    refresh(db, [id], now())


def must_be_small(origin: Origin) -> None:
    """BadParameter for an origin that says more than anyone shows."""
    if len(text(origin.claims)) > CLAIMS:
        raise BadParameter("origin", f"{len(text(origin.claims)):,} bytes of claims", f"at most {CLAIMS:,}")


def remove(db: Database, id: int, *, why: str = "", block: bool = False) -> list[str]:  # noqa: A002  # it is called so everywhere
    """Take an embedding away and leave a tombstone; `block` keeps it away. The sha256 of files and pictures that nothing names any more.

    Their bytes are the caller's to remove, after this has been committed: see `unnamed`.
    """
    row = db.execute("SELECT state FROM embeddings WHERE id = ?", (id,)).fetchone()
    if not (row and block and row[0] == "removed"):  # what was removed can still be blocked
        must_be_here(db, id)
    at = now()
    state = "blocked" if block else "removed"
    db.execute("UPDATE embeddings SET state = ?, state_at = ?, state_why = ? WHERE id = ?", (state, at, why, id))
    alone = db.execute(
        "SELECT f.id, f.sha256 FROM files f WHERE f.removed IS NULL"
        " AND f.id IN (SELECT file_id FROM embedding_files WHERE embedding_id = ?)"
        " AND NOT EXISTS (SELECT 1 FROM embedding_files l JOIN embeddings e ON e.id = l.embedding_id"
        " WHERE l.file_id = f.id AND e.state = 'present')",
        (id,),
    ).fetchall()
    db.conn.executemany("UPDATE files SET removed = ?, removed_why = ? WHERE id = ?", [(at, why, file_id) for file_id, _ in alone])
    pictures = [*forget_previews(db, id), *forget_verdicts(db, id)]
    refresh(db, [id], at)
    return unnamed(db, dict.fromkeys([*(sha256 for _, sha256 in alone), *pictures]))


def latest_revision(db: Database) -> int:
    """A number that is higher after every change."""
    latest: int = db.execute("SELECT latest FROM revisions").fetchone()[0]
    return latest
