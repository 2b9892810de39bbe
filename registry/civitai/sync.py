"""Everything that Civitai has of our kind, once; then what is new. What it takes away stays here, with a line that says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from embconv.converters import EmbconvError

from ..blobs import Blobs
from ..errors import RegistryError
from ..model import Offer, Offered
from ..store import Store
from ..store.civitai import HOLDING, Heard, hear, met, note, recall
from ..store.offers import offers
from ..times import now
from . import wire
from .choose import Options, checked, judge, selected, since
from .client import Client
from .errors import NotTaken, RegionBlocked
from .fetching import Outcome, fetch_all
from .missing import SHOWN, fill, fill_borders, look_again
from .provenance import told
from .run import Control, Progress, SyncReport, Tally, Trouble
from .walk import Narrowed, Place, full, news, walk

if TYPE_CHECKING:
    from sqlite_utils import Database

SOURCE = "civitai"


def sync(
    store: Store, blobs: Blobs, client: Client, options: Options, *, limit: int, control: Control,
    heard: Callable[[Progress], None] = lambda _: None,
) -> SyncReport:  # fmt: skip
    """Mirror Civitai's embeddings into a registry, from where the last run ended; `limit` is the most bytes of a file.

    It never raises for what is Civitai's: a report says what stopped it. BadParameter for options without a meaning.
    """
    run = Run(store, blobs, client, checked(options), limit, control, Tally(heard))
    try:
        client.check_token()
        run.listen()
        run.fetch()
    except RegistryError as exc:
        run.tally.stopped = Trouble(ref=client.site.host, name="", code=exc.code, says=exc.says, hint=exc.hint)
    run.tally.phase = "done"
    run.tally.tell(client.requests)
    return run.tally.report(client.requests, dry_run=options.dry_run)


class Undone(Exception):  # it is no error
    """Carries out of a write what would have been written, which is then not."""

    def __init__(self, result: tuple[list[Heard], Place | None]) -> None:
        self.result = result


class Run:
    """One sync: what it works with, and what has become of each file so far."""

    def __init__(self, store: Store, blobs: Blobs, client: Client, options: Options, limit: int, control: Control, tally: Tally) -> None:
        self.store, self.blobs, self.client, self.options, self.limit = store, blobs, client, options, limit
        self.control, self.tally = control, tally
        self.narrowed = Narrowed(query=options.query, creator=options.creator)
        self.met: dict[int, Heard] = {}

    # What Civitai tells

    def listen(self) -> None:
        """Walk through the lists, then ask by its id for what they have left out."""
        place = walk(self.client, self.place(), self.narrowed, self.take, self.control.check)
        if not place.whole:
            says = "Civitai's lists turn in circles: some models may be missing."
            self.tally.trouble(self.client.site.host, "", "civitai_unclear", says, "The next run walks through them again.")
        self.tally.phase = "filling"
        fill_borders(self, place)
        if self.narrowed.all:
            fill(self, place) if place.full and place.whole else look_again(self, place)
        self.write(lambda db: self.end(db, place))

    def place(self) -> Place:
        """Where the last run was interrupted, or a new beginning."""
        db, options = self.store.read, self.options
        noted = recall(db, SOURCE, self.narrowed.key)
        place = msgspec.convert(noted, Place) if noted else None
        if place and not place.ended and options.since in ("", "last"):
            return place
        number = (recall(db, SOURCE, "walks") or 0) + 1
        self.write(lambda db: note(db, SOURCE, "walks", number, now()))
        if options.since not in ("", "last"):
            return news(number, since(options))
        whole = recall(db, SOURCE, f"whole:{self.narrowed.key}")
        return news(number) if whole and not self.narrowed.query else full(number, self.narrowed)

    def end(self, db: Database, place: Place) -> None:
        """Note that a walk is over, and when everything was seen."""
        note(db, SOURCE, self.narrowed.key, None, now())
        if place.full and place.whole:
            note(db, SOURCE, f"whole:{self.narrowed.key}", now(), now())

    def take(self, place: Place, models: Sequence[wire.HeardModel], odd: Sequence[str], after: Callable[[int], Place]) -> Place:
        """Keep a page, and with it the place after it."""
        shown = SHOWN[place.passes[place.at].nsfw]
        following = self.keep(models, shown, place.walk, after)
        assert following is not None
        for why in odd:
            self.tally.trouble(self.client.site.host, "", "civitai_unclear", why, "The rest of the list was read.")
        self.tally.pages += 1
        self.tally.tell(self.client.requests)
        return following

    def keep(
        self, models: Sequence[wire.HeardModel], shown: str, number: int, after: Callable[[int], Place] | None = None
    ) -> Place | None:
        """Keep what was told of models, in one write."""
        known = met(self.store.read, [model.model.id for model in models], number, shown)
        kept = [told(model, shown) for model in models if model.model.id not in known]

        def work(db: Database) -> tuple[list[Heard], Place | None]:
            found = hear(db, kept, number, now())
            following = after(sum(bool(each.news) for each in found)) if after else None
            if following and not following.ended:
                note(db, SOURCE, self.narrowed.key, msgspec.to_builtins(following), now())
            if self.options.dry_run:
                raise Undone((found, following))
            return found, following

        try:
            found, following = self.store.write(work)
        except Undone as undone:
            found, following = undone.result
        self.tally.models |= {model.model.id for model in models}
        for each in found:
            before = self.met.get(each.offered.offer.id)
            news_ = before.news if before and before.news else each.news
            self.met[each.offered.offer.id] = Heard(offered=each.offered, news=news_)
        return following

    def write(self, work: Callable[[Database], object]) -> None:
        """Write, unless nothing is to be written."""
        if not self.options.dry_run:
            self.store.write(work)

    # What is taken

    def fetch(self) -> None:
        """Fetch what is wanted and not here, and count what became of everything that was met."""
        chosen = [each for each in self.known() if selected(each.offer, self.options)]
        wanted = []
        for each in chosen:
            verdict = self.verdict(each)
            if verdict:
                self.tally.outcomes.setdefault(each.offer.id, verdict)
            elif each.state not in HOLDING:
                wanted.append(each)
        several = self.options.limit or len(wanted)
        self.tally.outcomes |= {each.offer.id: "waiting" for each in wanted[several:]}
        if self.options.dry_run:
            self.tally.outcomes |= {each.offer.id: self.kind(each) for each in wanted[:several]}
            return
        if self.options.metadata_only:  # what is remembered is what counts
            met = [each for each in wanted[:several] if each.offer.id in self.met]
            self.tally.outcomes |= {each.offer.id: self.kind(each) if self.met[each.offer.id].news else "unchanged" for each in met}
            return
        self.bring(wanted[:several])

    def known(self) -> list[Offered]:
        """The files that this run is about: all that are known, or those that it met where it is narrowed or writes nothing."""
        if self.narrowed.all and not self.options.dry_run:
            return offers(self.store.read)
        met = {id_: each.offered for id_, each in self.met.items()}
        rest = {each.offer.id: each for each in offers(self.store.read)} if self.narrowed.all else {}
        return list({**rest, **met}.values())

    def verdict(self, each: Offered) -> str:
        """What became of a file that is not fetched: it is here, or it is passed over; "" for what is to be fetched or was not met."""
        heard = self.met.get(each.offer.id)
        if each.state in HOLDING:
            return self.kind(each) if heard and heard.news else "unchanged" if heard else ""
        refused = judge(each, self.options, token=self.client.site.token is not None, now=now(), limit=self.limit)
        return f"skipped:{refused.reason}" if refused else ""

    def kind(self, each: Offered) -> str:
        """Is it new here, or another than it was?"""
        heard = self.met.get(each.offer.id)
        return "added" if each.got is None or (heard and heard.news == "new") else "changed"

    def bring(self, wanted: list[Offered]) -> None:
        """Fetch files, equal ones once."""
        tally = self.tally
        first: list[Offered] = []
        rest: list[Offered] = []
        seen: set[str] = set()
        for each in wanted:
            sha256 = each.offer.sha256
            (rest if sha256 in seen else first).append(each)
            seen |= {sha256} if sha256 else set()
        tally.phase, tally.total = "fetching", len(wanted)
        tally.tell(self.client.requests)
        ended = self.fetch_some(first)
        if ended is None and rest:
            now_ = {each.offer.id: each for each in offers(self.store.read)}
            for each in rest:
                if now_[each.offer.id].state in HOLDING:
                    self.done(Outcome(offered=each, state="held"))
            ended = self.fetch_some([each for each in rest if now_[each.offer.id].state not in HOLDING])
        for each in wanted:
            tally.outcomes.setdefault(each.offer.id, "waiting")
        if ended is not None:
            raise ended

    def fetch_some(self, wanted: Sequence[Offered]) -> RegistryError | None:
        """Fetch files; what ended that before its end."""
        return fetch_all(self.client, self.store, self.blobs, wanted, threads=self.options.downloads, limit=self.limit,
                         control=self.control, done=self.done)  # fmt: skip

    def done(self, outcome: Outcome) -> None:
        """Count a file."""
        tally, offer, error = self.tally, outcome.offered.offer, outcome.error
        tally.done += 1
        if isinstance(error, NotTaken | RegionBlocked):
            tally.outcomes[offer.id] = f"skipped:{error.reason if isinstance(error, NotTaken) else error.code}"
        elif outcome.state == "failed" and error is not None:
            tally.outcomes[offer.id] = "failed"
            tally.troubles.append(trouble(offer, error))
        else:
            tally.outcomes[offer.id] = "waiting" if error else self.kind(outcome.offered)
        tally.tell(self.client.requests)


def trouble(offer: Offer, error: EmbconvError) -> Trouble:
    """What is wrong with a file, with its name."""
    ref, name = f"civitai:{offer.model_id}@{offer.version_id}", f"{offer.title} / {offer.name}"
    return Trouble(ref=ref, name=name, code=error.code, says=error.says, hint=error.hint)
