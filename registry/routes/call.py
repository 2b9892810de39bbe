"""What every route works with: the open registry, and what a request says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from embconv.converters.display import printable

from ..batches import Batches
from ..blobs import Blobs
from ..cache import Cache
from ..columns import Columns
from ..errors import BadParameter, UnknownParameter
from ..guards import Access, Hosts, must
from ..health import Gauges, Pulse
from ..ingest import Sent, ingest_together, sweep
from ..model import Ingested
from ..observe import Ids, Log, Numbers
from ..problems import BadRequest
from ..settings import Settings
from ..store import Store
from ..syncs import Syncs
from ..uploads import in_thread, receive_json
from .operation import Call, Pairs

T = TypeVar("T")

READERS = 8        # threads for what reads
WRITERS = 10       # threads for what writes; those that wait for the disk together share one commit
AT_ONCE = 2        # of them for small uploads: one thinks while the other waits for the disk
TOGETHER = 32      # small uploads that are taken in by one commit


class Service:
    """An open registry with all that serves it; close it."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self.settings, self.log = settings, log
        self.store = Store(settings.home, busy_seconds=settings.busy_seconds)
        self.blobs = Blobs(settings.home)
        self.cache = Cache(settings.home, settings.cache_bytes)
        self.columns = Columns(self.store)
        self.hosts = Hosts(settings)
        self.access = Access(settings, self.hosts, self.store)
        self.ids = Ids()
        self.numbers = Numbers(Gauges(settings, self.store))
        self.readers = ThreadPoolExecutor(READERS, "embconv-read")
        self.writers = ThreadPoolExecutor(WRITERS, "embconv-write")
        self.pulse = Pulse(settings, self.store, self.readers)
        work = partial(ingest_together, self.store, self.blobs)
        self.syncs = Syncs(self.store, lambda exc: log.failure("", exc))
        self.intake: Batches[Sent, Ingested] = Batches(self.writers, work, most=TOGETHER, at_once=AT_ONCE)

    def sweep(self) -> None:
        """Take away what a crash has left."""
        swept = sweep(self.store, self.blobs) + self.cache.sweep()
        if swept:
            self.log.write("info", "swept", detail=f"{swept} files without an owner were removed")

    def close(self) -> None:
        """Finish what is being written, and close everything."""
        self.syncs.close()
        self.columns.stop()
        self.writers.shutdown(wait=True)
        self.readers.shutdown(wait=True)
        self.store.close()


def service_of(call: Call) -> Service:
    """The registry that a request is for."""
    service: Service = call.scope["litestar_app"].state["service"]
    return service


async def reading(call: Call, work: Callable[..., T], *arguments: Any) -> T:
    """Run what takes longer than the event loop can wait, and writes nothing."""
    return await in_thread(service_of(call).readers, work, *arguments)


async def writing(call: Call, work: Callable[..., T], *arguments: Any) -> T:
    """Run what writes."""
    return await in_thread(service_of(call).writers, work, *arguments)


def headers_of(call: Call) -> list[tuple[bytes, bytes]]:
    """The headers as they came."""
    return list(call.scope["headers"])


def must_be(call: Call, role: str) -> None:
    """For what needs more than its route does."""
    must(call.scope["state"]["role"], role)


def base_url(call: Call) -> str:
    """How the caller reaches us: by a name that was checked."""
    host: bytes = call.scope["state"]["host"]
    return f"{call.scope['scheme']}://{host.decode('ascii')}"


def pairs_of(call: Call) -> Pairs:
    """What the query says."""
    found: Pairs = call.scope["state"]["query"]
    return found


def asked(call: Call, name: str) -> str | None:
    """The value of a parameter that is given at most once."""
    return next((value for given, value in pairs_of(call) if given == name), None)


def one_of(call: Call, name: str, known: Sequence[str], default: str) -> str:
    """The value of a parameter that has but a few."""
    value = asked(call, name)
    if value is None:
        return default
    if value.lower() not in known:
        raise BadParameter(name, value, f"one of {', '.join(known)}", known)
    return value.lower()


def flag(call: Call, name: str) -> bool:
    """A yes or no."""
    return one_of(call, name, ("true", "false", "1", "0", "yes", "no"), "false") in ("true", "1", "yes")


def whole(call: Call, name: str, default: int | None, least: int, most: int) -> int | None:
    """A whole number within bounds."""
    value = asked(call, name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= most):
        raise BadParameter(name, value, f"a whole number from {least} to {most}")
    return int(value)


def whole_in(value: object) -> bool:
    """Is it a whole number that is written as 8.0? JSON has but one kind of number."""
    return isinstance(value, float) and value.is_integer()


class Body(Struct):
    """What a JSON body may hold; the base of all of them."""


B = TypeVar("B", bound=Struct)


async def json_body(call: Call, kind: type[B], limit: int, *, optional: bool = False) -> B:
    """The body as a Struct; BadRequest, NotJson, or UnknownParameter for a field that it does not have. One that is `optional` may be empty."""
    data = await receive_json(call.receive, headers_of(call), limit, optional=optional)
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadRequest(f"The body is no JSON: {printable(str(exc))}.") from exc
    if not isinstance(found, dict):
        raise BadRequest("The body is no JSON object.")
    for name in found:
        if name not in kind.__struct_fields__:
            raise UnknownParameter(name, kind.__struct_fields__)
    try:
        return msgspec.convert({name: int(value) if whole_in(value) else value for name, value in found.items()}, kind)
    except msgspec.ValidationError as exc:
        raise BadRequest(f"The body is not what is expected: {printable(str(exc))}.") from exc
