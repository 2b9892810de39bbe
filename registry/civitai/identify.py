"""Which of Civitai's models local files are, by their hashes alone; what it says of them is kept, with the time it said so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from embconv.converters.convert import Failure

from ..claims import licence
from ..model import Offered
from ..store import Store
from ..store.civitai import SOURCE, ToldModel, has_file, hear, hold, missed, url_of
from ..store.lookup import files_holding
from ..store.offers import claims_of, offers_by_hash
from ..times import now
from . import wire
from .client import HASHES, IDS, MANY_HASHES, Client
from .local import Local
from .missing import ONE_BY_ONE, by_ids, chunks
from .provenance import told

if TYPE_CHECKING:
    from sqlite_utils import Database


class Identified(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What Civitai says of one file. `known` by its own hash, or by the one it was converted from (`converted`).

    `others`: how many more of its versions have the same bytes. `permits`: what the licence allows, as words.
    """

    path: str
    sha256: str
    known: bool = False
    converted: bool = False
    id: str = ""
    url: str = ""
    title: str = ""
    version: str = ""
    creator: str = ""
    base: str = ""
    trigger: str = ""
    licence: Any = None
    permits: tuple[str, ...] = ()
    nsfw: str | None = None
    role: str = ""
    mode: str = ""
    others: int = 0
    error: Failure | None = None


def identify(
    store: Store, client: Client, files: Sequence[Local], *, heard: Callable[[int, int], None] = lambda done, total: None
) -> list[Identified]:
    """Ask Civitai for these files. Nothing but hashes leaves the machine. Raises what stops it; what was told by then is kept."""
    asked = list(dict.fromkeys(value for file in files for value in file.hashes))
    found = {each.hash.lower() for part in chunks(asked, MANY_HASHES) for each in client.found(part)} & set(asked)
    learn(store, client, [value for value in asked if value in found], heard)
    forgotten = [value for value in asked if value not in found]
    store.write(lambda db: missed(db, forgotten, now()))
    offers = offers_by_hash(store.read, found)
    store.write(lambda db: connect(db, files, offers))
    said = claims_of(store.read, [each.offer.id for of in offers.values() for each in of])
    return [identified(file, offers, said) for file in files if not file.picture]


def learn(store: Store, client: Client, hashes: Sequence[str], heard: Callable[[int, int], None]) -> None:
    """Ask for the versions that have these hashes, then for their models, and keep all of it."""
    done = 0
    for part in chunks(hashes, HASHES):
        versions = {each.version.id: each for each in client.versions(part)}
        wanted = [each.version.model_id for each in versions.values() if each.version.model_id is not None]
        models = models_of(client, list(dict.fromkeys(wanted)))
        known = {version.version.id for model in models for version in model.versions}
        kept = [told(model, ONE_BY_ONE) for model in models]
        kept += [partial_of(each) for each in versions.values() if each.version.id not in known and each.version.model_id is not None]
        store.write(lambda db, kept=kept: hear(db, kept, 0, now()))  # type: ignore[misc]  # of this turn of the loop
        done += len(part)
        heard(done, len(hashes))


def models_of(client: Client, ids: Sequence[int]) -> list[wire.HeardModel]:
    """Models by their ids: with nsfw=true, then those that list leaves out without, then one by one; some are nowhere."""
    found: dict[int, wire.HeardModel] = {}
    for more in ((("nsfw", "true"),), ()):
        missing = [id_ for id_ in ids if id_ not in found]
        for part in chunks(missing, IDS):
            query = [("ids", ",".join(map(str, part))), ("limit", str(IDS)), ("archived", "true"), *more]
            found |= {model.model.id: model for model in by_ids(client, query, set(part))}
    for id_ in ids:
        if id_ not in found and (model := client.model(id_)) is not None:
            found[id_] = model
    return list(found.values())


def partial_of(version: wire.HeardVersion) -> ToldModel:
    """What a version tells of its model, where that is all there is to be had."""
    stub = version.body.get("model")
    body = {**(stub if isinstance(stub, dict) else {}), "id": version.version.model_id}
    heard = wire.HeardModel(model=wire.read(body, wire.Model), body=body, versions=(version,))
    return told(heard, ONE_BY_ONE, partly=True)


def connect(db: Database, files: Iterable[Local], offers: dict[str, list[Offered]]) -> None:
    """Tell the embeddings that are here of what they were converted from."""
    for file in files:
        first, *sources = (*file.hashes, "") if file.hashes else ("",)
        if first in offers:
            continue  # what has these very bytes was told as it was heard
        match = next((offers[value] for value in sources if value in offers), [])
        here = [file.sha256] if file.sha256 and has_file(db, file.sha256) else files_holding(db, file.digests)
        for each in match:
            for sha256 in here[:1]:
                hold(db, each.offer.id, sha256, now())


def identified(file: Local, offers: dict[str, list[Offered]], said: dict[int, dict[str, Any]]) -> Identified:
    """What is known of one file."""
    value = next((value for value in file.hashes if value in offers), "")
    if not value:
        return Identified(path=file.path, sha256=file.sha256, error=file.error)
    first, *others = offers[value]
    claims, offer = said.get(first.offer.id, {}), first.offer
    flags = claims.get("licence")
    words = licence(json.dumps(flags), SOURCE).permits if flags else ()
    return Identified(
        path=file.path, sha256=file.sha256, known=True, converted=value != file.sha256, id=f"{offer.model_id}@{offer.version_id}",
        url=url_of(offer), title=offer.title, version=offer.version, creator=offer.creator, base=offer.base,
        trigger=str(claims.get("trigger", "")), licence=flags, permits=words, nsfw=offer.level, role=str(claims.get("role", "")),
        mode=offer.mode, others=len({each.offer.version_id for each in others} - {offer.version_id}), error=file.error,
    )  # fmt: skip
