"""Models that were known and that no list shows any more, asked for by their ids: they are there, or a line says that they are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from ..store.absent import longest_unasked, unseen, unseen_versions, ways
from ..store.civitai import lose, met
from ..times import now, stamp
from . import wire
from .client import IDS, Client

if TYPE_CHECKING:
    from msgspec import Raw

    from .sync import Run
    from .walk import Place

T = TypeVar("T")
SHOWN = {True: "nsfw", False: "pg"}  # how a model is listed
ONE_BY_ONE = "no"
IDLE = 5                  # requests of a run that finds nothing new
WEEK = timedelta(days=7)  # after which Civitai is asked again for what it had no more


def fill(run: Run, place: Place) -> None:
    """Ask for every model that was known and not met: many at once in the two lists, then one by one. And for versions left out."""
    if run.options.dry_run:
        return
    missing = dict(unseen(run.store.read, place.walk, ago(WEEK)))
    for nsfw in (True, False):
        asked = [id_ for id_, shown in missing.items() if shown != ONE_BY_ONE]
        for ids in chunks(asked, IDS):
            for id_ in ask_many(run, ids, SHOWN[nsfw], place.walk):
                missing.pop(id_, None)
    ask_each(run, missing, place.walk)
    for id_ in unseen_versions(run.store.read, place.walk):
        run.control.check()
        if run.client.version(id_) is None:
            lost(run, versions=[id_])


def fill_borders(run: Run, place: Place) -> None:
    """Ask for the models that were lost at the borders of pages, those that were not met elsewhere."""
    for nsfw in (True, False):
        ids = list(dict.fromkeys(id_ for of, id_ in place.lost if of == nsfw))
        known = met(run.store.read, ids, place.walk, SHOWN[nsfw]) | run.tally.models
        for part in chunks([id_ for id_ in ids if id_ not in known], IDS):
            ask_many(run, part, SHOWN[nsfw], place.walk)


def look_again(run: Run, place: Place) -> None:
    """After what is new: those models that nobody asked for the longest, a hundred of them, whether they are still there."""
    db = run.store.read
    idle = not any(each.news for each in run.met.values())
    if run.options.dry_run or (idle and run.client.requests > IDLE - 2) or not (listed := ways(db)):
        return
    shown = listed[0]
    ids = longest_unasked(db, shown, ago(WEEK), IDS if shown != ONE_BY_ONE else 1)
    if not ids:
        return
    found = set() if shown == ONE_BY_ONE else ask_many(run, ids, shown, place.walk)
    ask_each(run, [id_ for id_ in ids if id_ not in found], place.walk)


def ask_many(run: Run, ids: Sequence[int], shown: str, number: int) -> set[int]:
    """Ask for models in a list; those that it has."""
    run.control.check()
    query = [("ids", ",".join(map(str, ids))), ("limit", str(IDS)), ("archived", "true")]
    query += [("nsfw", "true")] if shown == "nsfw" else []
    models = list(by_ids(run.client, query, set(ids)))
    run.keep(models, shown, number)
    return {model.model.id for model in models}


def by_ids(client: Client, query: Sequence[tuple[str, str]], ids: set[int]) -> Iterator[wire.HeardModel]:
    """The models of a list of ids, which may come on several pages, some of them empty."""
    cursor, seen = "", set[str]()
    while cursor not in seen:
        seen.add(cursor)
        page = client.models([*query, *([("cursor", cursor)] if cursor else [])])
        yield from (model for item in page.items if (model := readable(item)) and model.model.id in ids)
        cursor = page.cursor or ""


def ask_each(run: Run, ids: Iterable[int], number: int) -> None:
    """Ask for models by their ids; those that are not there are lost."""
    for id_ in ids:
        run.control.check()
        model = run.client.model(id_)
        if model is None:
            lost(run, models=[id_])
        else:
            run.keep([model], ONE_BY_ONE, number)
        run.tally.tell(run.client.requests)


def lost(run: Run, *, models: Sequence[int] = (), versions: Sequence[int] = ()) -> None:
    """Civitai has them no more."""
    for each in run.store.write(lambda db: lose(db, models=models, versions=versions, at=now())):
        run.tally.outcomes[each.offer.id] = "gone"


def readable(item: Raw) -> wire.HeardModel | None:
    """A model of a list, where it can be read."""
    try:
        return wire.model(item)
    except (ValueError, TypeError):
        return None


def chunks(ids: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """So many at a time."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def ago(span: timedelta) -> str:
    """A moment that long ago."""
    return stamp(datetime.now(UTC) - span)
