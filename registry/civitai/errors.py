"""What stops the work with Civitai, or a sync of any kind.

    RegistryError
    |-- CivitaiUnreachable   civitai_unreachable   Civitai does not answer, or only with errors of its own
    |-- CivitaiBusy          civitai_busy          it asks to come back later
    |-- CivitaiUnclear       civitai_unclear       it answers with something else than it should
    |-- RegionBlocked        region_blocked        it answers nobody from here
    |-- BadToken             bad_token             it does not know the token
    |-- AddressRefused       address_refused       an address that nothing of ours asks
    |-- NotTaken             not_taken             a file that is passed over, for a reason
    |-- FetchFailed          fetch_failed          a file that could not be fetched
    |-- UnknownSync          unknown_sync          no sync has that number
    |-- SyncRuns             sync_runs             a sync is running already
    `-- Stopped              stopped               somebody stopped it
"""

from __future__ import annotations

from embconv.converters.display import printable, quoted

from ..errors import RegistryError


class CivitaiUnreachable(RegistryError):
    """Civitai does not answer, or only with errors of its own."""

    code = "civitai_unreachable"

    def __init__(self, host: str, why: str) -> None:
        says = f"{printable(host)} does not answer: {printable(why)}."
        super().__init__(says, "What was done is kept. Run the same command again later; it goes on from here.")


class CivitaiBusy(RegistryError):
    """Civitai asks to come back later; `seconds` is when, if it says so."""

    code = "civitai_busy"

    def __init__(self, host: str, why: str, seconds: float | None = None) -> None:
        when = f"; it asks to wait {seconds:,.0f} seconds" if seconds else ""
        hint = "What was done is kept. Run the same command again later, or with a lower --rate."
        super().__init__(f"{printable(host)} takes no more requests for now: {printable(why)}{when}.", hint)
        self.seconds = seconds


class CivitaiUnclear(RegistryError):
    """Civitai answered with something else than it should."""

    code = "civitai_unclear"

    def __init__(self, what: str, why: str, *, status: int = 0) -> None:
        self.status = status
        hint = "Look at the address in a browser. If Civitai has changed, a newer embconv may know how."
        super().__init__(f"The answer to {printable(what)} cannot be used: {printable(why)}.", hint)


class RegionBlocked(RegistryError):
    """Civitai answers nobody from this country."""

    code = "region_blocked"

    def __init__(self, host: str) -> None:
        hint = "Nothing can be asked from here; a mirror may: --api URL."
        super().__init__(f"{printable(host)} answers nobody from this region (451).", hint)


class BadToken(RegistryError):
    """Civitai does not know the token, or it cannot be used."""

    code = "bad_token"

    def __init__(self, why: str) -> None:
        super().__init__(printable(why), "Make one in your account's settings at Civitai, and set EMBCONV_CIVITAI_TOKEN; or go without.")


class AddressRefused(RegistryError):
    """An address that nothing of ours asks."""

    code = "address_refused"

    def __init__(self, url: str, why: str) -> None:
        hint = "Only https on the public network is asked. A server of your own: EMBCONV_ALLOW_PRIVATE=1."
        super().__init__(f"{quoted(url)} is not asked: {why}.", hint)


class NotTaken(RegistryError):
    """A file that is passed over: `reason` is one word of it, `again` when trying again may help (a time, `token`, or nothing)."""

    code = "not_taken"

    def __init__(self, reason: str, says: str, hint: str = "", *, again: str = "") -> None:
        super().__init__(printable(says), hint)
        self.reason, self.again = reason, again


class FetchFailed(RegistryError):
    """A file that could not be fetched; the next run tries again."""

    code = "fetch_failed"

    def __init__(self, says: str, hint: str = "The next run tries again.") -> None:
        super().__init__(printable(says), hint)


class UnknownSync(RegistryError):
    """No sync has that number."""

    code = "unknown_sync"

    def __init__(self, number: str) -> None:
        super().__init__(f"There is no sync {quoted(number)}.", "All of them: GET /v1/syncs")


class SyncRuns(RegistryError):
    """A sync of the same source is running already."""

    code = "sync_runs"

    def __init__(self, source: str) -> None:
        super().__init__(f"A sync of {printable(source)} is running already.", "Wait until it has ended, or cancel it.")


class Stopped(RegistryError):
    """Somebody stopped it."""

    code = "stopped"

    def __init__(self) -> None:
        super().__init__("It was stopped.", "What was done is kept. Run the same command again; it goes on from here.")
