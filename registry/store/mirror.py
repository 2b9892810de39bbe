"""What is told on in Civitai's shape: what Civitai said of the files that are here, and the embeddings of which it said nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from ..model import FileEntry
from .rows import file_entry

if TYPE_CHECKING:
    from sqlite_utils import Database

HERE = "civitai_files c CROSS JOIN files f ON f.sha256 = c.got AND f.removed IS NULL"
FILE = "f.id, f.sha256, f.name, f.size, f.container, f.layout, f.added, f.hashes"
ALONE = "(SELECT count(*) FROM embedding_files o WHERE o.file_id = f.id) = 1"


class KeptModel(Struct, frozen=True):
    """A model as Civitai told of it last; `seen` is when."""

    id: int
    body: Raw
    seen: str


class KeptVersion(Struct, frozen=True):
    """A version of which a file is here."""

    id: int
    model_id: int
    body: Raw


class KeptFile(Struct, frozen=True):
    """A file here: what Civitai says of it, if anything, and what it is.

    `id` is Civitai's, `sha256` as it says. `alone`: the file holds one embedding.
    """

    id: int | None
    body: Raw
    sha256: str | None
    row: int
    entry: FileEntry
    alone: bool


def touched_models(db: Database, revision: int) -> list[int]:
    """Models of which a file holds an embedding that changed after a revision."""
    sql = (
        "SELECT DISTINCT c.model_id FROM embeddings e CROSS JOIN embedding_files l ON l.embedding_id = e.id"
        " CROSS JOIN files f ON f.id = l.file_id CROSS JOIN civitai_files c ON c.got = f.sha256 WHERE e.revision > ?"
    )
    return [id_ for (id_,) in db.execute(sql, (revision,))]


def kept_models(db: Database) -> list[int]:
    """Every model of which a file is here."""
    here = HERE.replace("civitai_files c", "civitai_files c INDEXED BY civitai_files_got")
    return [id_ for (id_,) in db.execute(f"SELECT DISTINCT c.model_id FROM {here} WHERE c.got IS NOT NULL")]  # noqa: S608  # ours


def asked_models(db: Database, moment: str) -> list[int]:
    """Models that were asked for at a moment or after it."""
    sql = "SELECT id FROM civitai_models WHERE shown IN ('nsfw', 'pg', 'no') AND asked >= ?"
    return [id_ for (id_,) in db.execute(sql, (moment,))]


def last_asked(db: Database) -> str:
    """When any model was asked for last."""
    sql = "SELECT max(asked) FROM civitai_models WHERE shown = ?"
    return max((db.execute(sql, (shown,)).fetchone()[0] or "" for shown in ("nsfw", "pg", "no")), default="")


def data_version(db: Database) -> int:
    """A number that is another one for this connection after every change by others."""
    found: int = db.execute("PRAGMA data_version").fetchone()[0]
    return found


def models_told(db: Database, ids: Iterable[int]) -> dict[int, KeptModel]:
    """These models."""
    rows = db.execute("SELECT m.id, m.body, m.seen FROM json_each(?) v CROSS JOIN civitai_models m ON m.id = v.value", (listed(ids),))
    return {id_: KeptModel(id_, Raw(body), seen) for id_, body, seen in rows}


def versions_told(db: Database, models: Iterable[int] = (), versions: Iterable[int] = ()) -> list[KeptVersion]:
    """The versions of these models, and these versions, of which a file is here; of each model the newest first."""
    found = []
    for column, ids in (("model_id", models), ("id", versions)):
        rows = db.execute(
            f"SELECT v.id, v.model_id, v.body FROM json_each(?) w CROSS JOIN civitai_versions v ON v.{column} = w.value"  # noqa: S608  # ours
            f" WHERE EXISTS (SELECT 1 FROM {HERE} WHERE c.version_id = v.id) ORDER BY v.model_id, v.place, v.id DESC",
            (listed(ids),),
        )
        found += [KeptVersion(id_, model_id, Raw(body)) for id_, model_id, body in rows]
    return found


def files_told(db: Database, versions: Iterable[int]) -> dict[int, list[KeptFile]]:
    """Version -> its files that are here, as Civitai numbers them; one without a number has one below zero."""
    found: dict[int, list[KeptFile]] = defaultdict(list)
    for version_id, id_, body, sha256, alone, *file in db.execute(
        f"SELECT c.version_id, c.id, c.body, c.sha256, {ALONE}, {FILE} FROM json_each(?) w CROSS JOIN {HERE}"  # noqa: S608  # ours
        " WHERE c.version_id = w.value ORDER BY c.version_id, abs(c.id)",
        (listed(versions),),
    ):
        found[version_id].append(KeptFile(id_, Raw(body), sha256, file[0], file_entry(file[1:]), bool(alone)))
    return found


def files_of_hash(db: Database, sha256: str) -> list[KeptFile]:
    """A file here, once for each that Civitai told of, and once as nobody told of it."""
    rows = db.execute(
        f"SELECT c.id, c.body, c.sha256, {ALONE}, {FILE} FROM {HERE} WHERE c.got = ? UNION ALL"  # noqa: S608  # ours
        f" SELECT NULL, '{{}}', NULL, {ALONE}, {FILE} FROM files f WHERE f.sha256 = ? AND f.removed IS NULL",
        (sha256, sha256),
    )
    return [KeptFile(id_, Raw(body), said, file[0], file_entry(file[1:]), bool(alone)) for id_, body, said, alone, *file in rows]


def first_in(db: Database, row: int) -> tuple[int, str] | None:
    """The first embedding of a file: its id and its trigger."""
    sql = (
        "SELECT e.id, e.trigger FROM embedding_files l JOIN embeddings e ON e.id = l.embedding_id"
        " WHERE l.file_id = ? AND e.state = 'present' ORDER BY l.place LIMIT 1"
    )
    found: tuple[int, str] | None = db.execute(sql, (row,)).fetchone()
    return found


def files_by_embedding(db: Database, ids: Iterable[int]) -> dict[int, list[KeptFile]]:
    """Embedding -> its files, the first that came first, as nobody told of them."""
    found: dict[int, list[KeptFile]] = defaultdict(list)
    for owner, alone, *file in db.execute(
        f"SELECT DISTINCT l.embedding_id, {ALONE}, {FILE} FROM json_each(?) w CROSS JOIN embedding_files l ON l.embedding_id = w.value"  # noqa: S608  # ours
        " CROSS JOIN files f ON f.id = l.file_id AND f.removed IS NULL ORDER BY l.embedding_id, f.id",
        (listed(ids),),
    ):
        found[owner].append(KeptFile(None, Raw(b"{}"), None, file[0], file_entry(file[1:]), bool(alone)))
    return found


def links(db: Database, models: Iterable[int]) -> dict[int, set[int]]:
    """Model -> the embeddings that its files here hold."""
    found: dict[int, set[int]] = defaultdict(set)
    for model_id, id_ in db.execute(
        f"SELECT c.model_id, l.embedding_id FROM json_each(?) w CROSS JOIN {HERE}"  # noqa: S608  # ours
        " CROSS JOIN embedding_files l ON l.file_id = f.id WHERE c.model_id = w.value",
        (listed(models),),
    ):
        found[model_id].add(id_)
    return found


def versions_with(db: Database, shas: Iterable[str]) -> dict[str, list[int]]:
    """sha256 of a file here -> the versions that have it, or say that they do; the oldest first."""
    found: dict[str, list[int]] = defaultdict(list)
    for column in ("got", "sha256"):
        rows = db.execute(
            f"SELECT w.value, c.version_id FROM json_each(?) w CROSS JOIN {HERE} WHERE c.{column} = w.value ORDER BY c.version_id",  # noqa: S608  # ours
            (listed(shas),),
        )
        for sha256, version_id in rows:
            if version_id not in found[sha256]:
                found[sha256].append(version_id)
    return found


def versions_of(db: Database, digests: Iterable[str]) -> dict[str, tuple[int, list[int]]]:
    """Digest -> the embedding that is here, and the versions that have it in any file; the oldest first."""
    found: dict[str, tuple[int, list[int]]] = {}
    bare = [digest.removeprefix("emb:") for digest in digests]
    for digest, id_, version_id in db.execute(
        "SELECT DISTINCT e.digest, e.id, c.version_id FROM json_each(?) w"
        " CROSS JOIN embeddings e ON e.digest = w.value AND e.state = 'present'"
        " LEFT JOIN embedding_files l ON l.embedding_id = e.id LEFT JOIN files f ON f.id = l.file_id AND f.removed IS NULL"
        " LEFT JOIN civitai_files c ON c.got = f.sha256 ORDER BY e.id, c.version_id",
        (listed(bare),),
    ):
        _, versions = found.setdefault(f"emb:{digest}", (id_, []))
        if version_id is not None:
            versions.append(version_id)
    return found


def listed(values: Iterable[Any] | Sequence[Any]) -> str:
    """For json_each."""
    return msgspec.json.encode(list(values)).decode()
