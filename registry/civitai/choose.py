"""Which of the files that Civitai offers are taken, and for what reason each other one is not."""

from __future__ import annotations

from msgspec import Struct

from embconv.converters.encoders import BASES, base_of

from ..errors import BadParameter
from ..model import NSFW, Offer, Offered
from ..times import stamp
from .errors import NotTaken
from .provenance import moment, weights
from .wire import File

LEVELS = (*NSFW, "all")
REASONS = (
    "archived", "taken_down", "early_access", "login_required", "generation_only", "region_blocked", "not_an_embedding",
    "above_nsfw_level", "not_found",
)  # fmt: skip


class Options(Struct, frozen=True, kw_only=True):
    """What a sync is to do. `nsfw`: the highest level that is taken. `limit`: files at most; 0 is all. `since`: last, or a date."""

    base: tuple[str, ...] = ()
    query: str = ""
    creator: str = ""
    since: str = ""
    limit: int = 0
    metadata_only: bool = False
    nsfw: str = "pg"
    rate: float = 1.0
    downloads: int = 2
    dry_run: bool = False


def checked(options: Options) -> Options:
    """The same, if it makes sense; BadParameter."""
    if options.nsfw not in LEVELS:
        raise BadParameter("nsfw level", options.nsfw, f"one of {', '.join(LEVELS)}", LEVELS)
    for base in options.base:
        if base not in BASES and base_of(base) is None and base.lower() != "other":
            raise BadParameter("base", base, f"one of {', '.join(BASES)}, or one of Civitai's, such as 'SD 1.5'", BASES)
    if options.since not in ("", "last"):
        since(options)
    if options.limit < 0 or options.rate < 0 or not 1 <= options.downloads <= 32:
        numbers = f"{options.limit}, {options.rate}, {options.downloads}"
        raise BadParameter("limit, rate and downloads", numbers, "the first two from 0, the last from 1 to 32")
    return options


def since(options: Options) -> str:
    """The date from which on, as text that sorts."""
    try:
        return moment(options.since).isoformat()
    except ValueError as exc:
        raise BadParameter("date", options.since, "last, or a date such as 2026-10-31") from exc


def selected(offer: Offer, options: Options) -> bool:
    """Is it of a base that is asked for?"""
    if not options.base:
        return True
    wanted = {base.lower() for base in options.base}
    return offer.base.lower() in wanted or (base_of(offer.base) or "other") in wanted


def judge(offered: Offered, options: Options, *, token: bool, now: str, limit: int) -> NotTaken | None:
    """Why a file is not taken; None where it is to be fetched."""
    offer = offered.offer
    if offer.mode == "Archived":
        return NotTaken("archived", "The model is archived; its files are not given out.")
    if offer.mode == "TakenDown":
        return NotTaken("taken_down", "Civitai has taken the model down.")
    if not weights(File(type=offer.kind)):
        return NotTaken("not_an_embedding", f"It is of the type {offer.kind}.")
    if (offer.size or 0) > limit:
        return NotTaken("not_an_embedding", f"It has {offer.size:,} bytes; at most {limit:,} are fetched.")
    if options.nsfw != "all" and (offer.level is None or NSFW.index(offer.level) > NSFW.index(options.nsfw)):
        return NotTaken("above_nsfw_level", f"It is rated {offer.level or 'not yet'}.", f"Take it too: --nsfw {offer.level or 'all'}")
    if offer.gate and not token and not passed(offer.gate, now):
        until = "" if offer.gate == "never" else f" until {offer.gate}"
        return NotTaken("early_access", f"It has to be paid for{until}.")
    if offered.state == "skipped" and not due(offered.again, now, token=token):
        return NotTaken(offered.reason, offered.says)
    return None


def passed(text: str, now: str) -> bool:
    """Is this moment over?"""
    try:
        return stamp(moment(text)) <= now
    except ValueError:
        return False


def due(again: str, now: str, *, token: bool) -> bool:
    """May another try help by now?"""
    return token if again == "token" else bool(again) and passed(again, now)
