"""What Civitai said: models, versions and files as it told of them last, what became of each file here, and how far a walk has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..model import Offer, Offered, Origin
from .documents import refresh
from .lines import add_line, text
from .offers import OFFERED, listed, offered, offers_by_hash

if TYPE_CHECKING:
    from sqlite_utils import Database

HOLDING = ("held", "unverified")
MODES = {"Archived": "archived", "TakenDown": "taken_down"}  # as Civitai says it of a model, and as a line of origin does
COUNTED = ("downloads",)  # claims that change by the hour: they are no news
PASSING = ("early_access", "archived")  # reasons that are over when Civitai says another gate or mode
SOURCE = "civitai"
SITE = "https://civitai.com"  # where people look at a model, whatever host was asked


class ToldFile(Struct, frozen=True, kw_only=True):
    """A file as it was told of: its body, what it offers, what its origin is to say."""

    offer: Offer
    body: dict[str, Any]
    claims: dict[str, Any]


class ToldVersion(Struct, frozen=True, kw_only=True):
    """A version as it was told of, and its files."""

    id: int
    body: dict[str, Any]
    files: tuple[ToldFile, ...]


class ToldModel(Struct, frozen=True, kw_only=True):
    """A model as it was told of, and its versions, the newest first. `shown`: nsfw, pg or no; `partly`: only some of it was told."""

    id: int
    body: dict[str, Any]
    versions: tuple[ToldVersion, ...]
    shown: str
    partly: bool = False


class Heard(Struct, frozen=True, kw_only=True):
    """What was news of one file: `news` is new, replaced, told (something of it) or nothing."""

    offered: Offered
    news: str


def hear(db: Database, models: Iterable[ToldModel], walk: int, at: str) -> list[Heard]:
    """Keep what was told; what is here already of these files gains their line of origin. Nothing that is not told of is touched."""
    touched: set[int] = set()
    found = [heard for model in models for heard in hear_model(db, model, walk, at, touched)]
    refresh(db, touched, at)
    return found


def met(db: Database, ids: Iterable[int], walk: int, shown: str) -> set[int]:
    """Those of these models that a walk has met in this list, or in that with nsfw=true, which tells more of each than the other."""
    sql = "SELECT id FROM civitai_models WHERE id IN (SELECT value FROM json_each(?)) AND walk = ? AND shown IN ('nsfw', ?)"
    return {id_ for (id_,) in db.execute(sql, (listed(ids), walk, shown))}


def withheld(version_id: int) -> int:
    """The id of what stands for the files of a version while Civitai names none."""
    return -(version_id << 8 | 0xFF)


def hear_model(db: Database, model: ToldModel, walk: int, at: str, touched: set[int]) -> Iterable[Heard]:
    """One model."""
    back = not model.partly and is_gone(db, "civitai_models", model.id)
    keep = "" if model.partly else "body = excluded.body, shown = excluded.shown, asked = excluded.asked, "
    db.execute(
        "INSERT INTO civitai_models (id, body, shown, walk, seen, asked) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "  # noqa: S608  # ours
        f"{keep}state = 'present', walk = max(walk, excluded.walk), seen = excluded.seen",
        (model.id, text(model.body).encode(), model.shown, walk, at, "" if model.partly else at),
    )
    for place, version in enumerate(model.versions):
        again = back or is_gone(db, "civitai_versions", version.id)
        db.execute(
            "INSERT INTO civitai_versions (id, model_id, place, body, walk) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " model_id = excluded.model_id, place = excluded.place, body = excluded.body, walk = max(walk, excluded.walk),"
            " state = 'present'",
            (version.id, model.id, place, text(version.body).encode(), walk),
        )
        yield from (hear_file(db, file, walk, at, touched, back=again) for file in stood_for(db, version))
        if any(file.offer.id != withheld(version.id) for file in version.files):
            db.execute("DELETE FROM civitai_files WHERE id = ?", (withheld(version.id),))
    mode = model.body.get("mode")
    if mode in MODES:
        withdraw(db, model.id, str(mode), at, touched)


def is_gone(db: Database, table: str, id_: int) -> bool:
    """Did Civitai have a model or a version no more?"""
    return db.execute(f"SELECT 1 FROM {table} WHERE id = ? AND state = 'gone'", (id_,)).fetchone() is not None  # noqa: S608  # ours


def stood_for(db: Database, version: ToldVersion) -> tuple[ToldFile, ...]:
    """The files of a version; without what stands for them, where they were told of before they were withheld."""
    sql = "SELECT 1 FROM civitai_files WHERE version_id = ? AND id <> ?"
    known = db.execute(sql, (version.id, withheld(version.id))).fetchone() is not None
    return tuple(file for file in version.files if not (known and file.offer.id == withheld(version.id)))


def withdraw(db: Database, model_id: int, mode: str, at: str, touched: set[int]) -> None:
    """Civitai gives the files of a model out no more; what is here of them stays, with a line that says so."""
    for id_, *row in db.execute(f"SELECT id, {OFFERED} FROM civitai_files WHERE model_id = ?", (model_id,)).fetchall():  # noqa: S608  # ours
        each = offered(row)
        if each.offer.mode != mode:
            offer = replace(each.offer, mode=mode)
            db.execute("UPDATE civitai_files SET offer = ? WHERE id = ?", (msgspec.json.encode(offer), id_))
        if each.got:
            touched |= tell(db, each.offer, {}, each.got, at, state=MODES[mode])


def hear_file(db: Database, file: ToldFile, walk: int, at: str, touched: set[int], *, back: bool) -> Heard:
    """One file: what is new about it, and whether its bytes are here. `back`: it was gone."""
    offer, claims = file.offer, text(file.claims)
    row = db.execute(f"SELECT {OFFERED}, claims FROM civitai_files WHERE id = ?", (offer.id,)).fetchone()  # noqa: S608  # ours
    before = renewed(offered(row[:-1]), offer, back=back) if row else None
    after, news = next_state(db, offer, before)
    if before and not news and (back or before.offer.mode != offer.mode or lasting(row[-1]) != lasting(claims)):
        news = "told"
    db.execute(
        "INSERT INTO civitai_files (id, model_id, version_id, body, sha256, claims, offer, state, reason, says, again, got, walk)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET model_id = excluded.model_id,"
        " version_id = excluded.version_id, body = excluded.body, sha256 = excluded.sha256, claims = excluded.claims,"
        " offer = excluded.offer, state = excluded.state, reason = excluded.reason, says = excluded.says, again = excluded.again,"
        " got = excluded.got, walk = max(walk, excluded.walk)",
        (offer.id, offer.model_id, offer.version_id, text(file.body).encode(), offer.sha256, claims, msgspec.json.encode(offer),
         after.state, after.reason, after.says, after.again, after.got, walk),
    )  # fmt: skip
    if after.got and after.state in HOLDING and (news or not before or before.got != after.got):
        touched |= tell(db, offer, file.claims, after.got, at)
    return Heard(offered=after, news=news)


def renewed(before: Offered, offer: Offer, *, back: bool) -> Offered:
    """Where a file stood, without a reason to pass it over that is over."""
    lifted = before.reason in PASSING and (before.offer.gate, before.offer.mode) != (offer.gate, offer.mode)
    if before.state == "skipped" and (lifted or (back and before.reason == "not_found")):
        return replace(before, state="waiting", reason="", says="", again="")
    return before


def next_state(db: Database, offer: Offer, before: Offered | None) -> tuple[Offered, str]:
    """Where a file stands after what was told: its bytes may be here already, and it may be another than before."""
    here = offer.sha256 if offer.sha256 and has_file(db, offer.sha256) else None
    if before is None:
        return Offered(offer=offer, state="held" if here else "waiting", got=here), "new"
    kept = replace(before, offer=offer)
    if before.state == "unverified" and offer.sha256 in (None, before.got):
        return (kept, "") if offer.sha256 is None else (replace(kept, state="held"), "told")
    if offer.sha256 != before.offer.sha256 and offer.sha256 is not None:
        return Offered(offer=offer, state="held" if here else "waiting", got=here or before.got), "replaced"
    if here and before.state not in HOLDING:
        return Offered(offer=offer, state="held", got=here), ""
    if before.state in HOLDING and before.got and not has_file(db, before.got):
        return replace(kept, state="skipped", reason="taken_down", says="It was removed here."), ""
    return kept, ""


def has_file(db: Database, sha256: str) -> bool:
    """Is that file kept here?"""
    return db.execute("SELECT 1 FROM files WHERE sha256 = ? AND removed IS NULL", (sha256,)).fetchone() is not None


def lasting(claims: str) -> dict[str, Any]:
    """What is claimed, without what changes by the hour."""
    said = msgspec.json.decode(claims, type=dict[str, Any])
    return {name: value for name, value in said.items() if name not in COUNTED}


def line(offer: Offer, claims: dict[str, Any], at: str, *, state: str = "present", got: str | None) -> Origin:
    """A line of origin."""
    ref = f"{offer.model_id}@{offer.version_id}"
    return Origin(source=SOURCE, id=ref, url=url_of(offer), seen=at, state=state, sha256=got, claims=claims)


def url_of(offer: Offer) -> str:
    """Where people look at it."""
    return f"{SITE}/models/{offer.model_id}?modelVersionId={offer.version_id}"


def tell(db: Database, offer: Offer, claims: dict[str, Any], got: str, at: str, *, state: str = "present") -> set[int]:
    """Add the line to every embedding of the file that holds it; their ids, to be refreshed."""
    ids = {
        id_ for (id_,) in db.execute(
            "SELECT l.embedding_id FROM files f JOIN embedding_files l ON l.file_id = f.id JOIN embeddings e ON e.id = l.embedding_id"
            " WHERE f.sha256 = ? AND f.removed IS NULL AND e.state = 'present'", (got,))
    }  # fmt: skip
    for id_ in ids:
        add_line(db, id_, line(offer, claims, at, state=state, got=got))
    return ids


def arrived(db: Database, sha256: str, at: str) -> set[int]:
    """A file came here: what Civitai told of these very bytes is said of it. The ids of its embeddings, to be refreshed."""
    rows = db.execute("SELECT id, offer, claims FROM civitai_files WHERE sha256 = ?", (sha256,)).fetchall()
    ids: set[int] = set()
    for id_, offer, claims in rows:
        db.execute("UPDATE civitai_files SET state = 'held', reason = '', says = '', again = '', got = ? WHERE id = ?", (sha256, id_))
        ids |= tell(db, msgspec.json.decode(offer, type=Offer), msgspec.json.decode(claims, type=dict[str, Any]), sha256, at)
    return ids


def settle(db: Database, id: int, state: str, *, reason: str = "", says: str = "", again: str = "", got: str | None = None) -> None:  # noqa: A002  # as everywhere
    """What became of a file."""
    db.execute(
        "UPDATE civitai_files SET state = ?, reason = ?, says = ?, again = ?, got = coalesce(?, got) WHERE id = ?",
        (state, reason, says, again, got, id),
    )


def hold(db: Database, id: int, got: str, at: str) -> None:  # noqa: A002  # as everywhere
    """A file here holds what this one is, converted perhaps: its embeddings gain the line of origin."""
    row = db.execute("SELECT offer, claims, state, got FROM civitai_files WHERE id = ?", (id,)).fetchone()
    offer, claims = msgspec.json.decode(row[0], type=Offer), msgspec.json.decode(row[1], type=dict[str, Any])
    if row[3] is None or not has_file(db, row[3]):
        db.execute("UPDATE civitai_files SET got = ? WHERE id = ?", (got, id))
    refresh(db, tell(db, offer, claims, got, at), at)


def lose(db: Database, *, models: Iterable[int] = (), versions: Iterable[int] = (), at: str) -> list[Offered]:
    """Civitai has them no more: a line says so, and nothing is erased. Their files that were not known to be gone."""
    lost: list[Offered] = []
    touched: set[int] = set()
    for table, column, ids in (("civitai_models", "model_id", models), ("civitai_versions", "version_id", versions)):
        for id_ in ids:
            if table == "civitai_models":
                db.execute("UPDATE civitai_models SET asked = ? WHERE id = ?", (at, id_))
            if db.execute(f"UPDATE {table} SET state = 'gone' WHERE id = ? AND state = 'present' RETURNING id", (id_,)).fetchall():  # noqa: S608  # ours
                rows = db.execute(f"SELECT {OFFERED}, claims FROM civitai_files WHERE {column} = ?", (id_,)).fetchall()  # noqa: S608  # ours
                lost += [offered(row[:-1]) for row in rows]
                for row in rows:
                    touched |= forgotten(db, offered(row[:-1]), at)
    refresh(db, touched, at)
    return lost


def missed(db: Database, hashes: Iterable[str], at: str) -> None:
    """Civitai was asked for these and knew them no more: a line says so, and nothing is erased."""
    touched: set[int] = set()
    for of in offers_by_hash(db, hashes).values():
        for each in of:
            touched |= tell(db, each.offer, {}, each.got, at, state="gone") if each.got else set()
    refresh(db, touched, at)


def forgotten(db: Database, each: Offered, at: str) -> set[int]:
    """One file of what is gone."""
    if each.state in ("waiting", "failed", "skipped"):
        settle(db, each.offer.id, "skipped", reason="not_found", says="Civitai has it no more.")
    return tell(db, each.offer, {}, each.got, at, state="gone") if each.got else set()


def recall(db: Database, source: str, key: str) -> Any:
    """What was noted, or None."""
    row = db.execute("SELECT value FROM sync_state WHERE source = ? AND key = ?", (source, key)).fetchone()
    return msgspec.json.decode(row[0]) if row else None


def recall_all(db: Database, source: str) -> dict[str, Any]:
    """Everything that was noted of a source."""
    return {key: msgspec.json.decode(value) for key, value in db.execute("SELECT key, value FROM sync_state WHERE source = ?", (source,))}


def note(db: Database, source: str, key: str, value: Any, at: str) -> None:
    """Note something of a source; None takes it away."""
    if value is None:
        db.execute("DELETE FROM sync_state WHERE source = ? AND key = ?", (source, key))
        return
    db.execute(
        "INSERT INTO sync_state (source, key, value, changed) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (source, key) DO UPDATE SET value = excluded.value, changed = excluded.changed",
        (source, key, text(value), at),
    )
