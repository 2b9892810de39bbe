"""Civitai's API, asked at a polite rate: what it answers is looked at before it is read, and the token goes to nobody else."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from importlib.metadata import version as installed
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urljoin

import httpx
import msgspec
from msgspec import Struct

from ..errors import RegistryError
from . import wire
from .errors import BadToken, CivitaiBusy, CivitaiUnclear, CivitaiUnreachable, RegionBlocked
from .site import Resolve, Site, check_url, resolved, same, shown, transport

T = TypeVar("T")
JSON = "application/json"
LARGEST = 48 << 20            # bytes of an answer; a page of 100 models has about 2 MiB
TRIES = 4                     # as Civitai's own command line
FIRST, LONGEST = 0.25, 5.0    # seconds between them, doubled each time, a fifth more or less
PATIENCE = 60.0               # seconds that Civitai may ask to wait; for more the run ends, and the next goes on
AGAIN = frozenset({502, 503, 504, 520, 521, 522, 523, 524})  # that are over soon
HOPS = 5
SLOW = 8.0                    # requests a second after the first 429 of a run without a limit
IDS, HASHES, MANY_HASHES = 100, 100, 10_000
TIMEOUT = httpx.Timeout(60.0, connect=15.0)
LATE: dict[type[httpx.HTTPError], str] = {httpx.ConnectTimeout: "it takes too long to connect", httpx.ReadTimeout: "it takes too long"}
MOVED = frozenset({301, 302, 303, 307, 308})


class Reply(Struct, frozen=True):
    """An answer that is all there."""

    status: int
    media: str
    body: bytes
    headers: Mapping[str, str]


class Pace:
    """So many requests a second at most, by all threads together; half as many after each complaint. 0 is no limit."""

    def __init__(self, rate: float, sleep: Callable[[float], None]) -> None:
        self._rate, self._sleep, self._lock, self._next = rate, sleep, threading.Lock(), 0.0

    @property
    def rate(self) -> float:
        return self._rate

    def wait(self) -> None:
        """Until it is our turn."""
        if self._rate <= 0:
            return
        with self._lock:
            at = max(self._next, time.monotonic())
            self._next = at + 1 / self._rate
        if (left := at - time.monotonic()) > 0:
            self._sleep(left)

    def halve(self) -> None:
        """Somebody complained."""
        with self._lock:
            self._rate = self._rate / 2 if self._rate > 0 else SLOW


class Client:
    """A Civitai. `requests` counts those to it. Close it. `sleep` may be one that ends early where somebody stops the run."""

    def __init__(
        self, site: Site, *, rate: float = 1.0, sleep: Callable[[float], None] = time.sleep, resolve: Resolve = resolved,
        transport_: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.site, self.pace, self.sleep, self.requests = site, Pace(rate, sleep), sleep, 0
        self._own = {"user-agent": f"embconv/{installed('embconv')}", "accept-encoding": "gzip"}
        self._transport = transport_ or transport(site, resolve)
        self._timeout = {"timeout": TIMEOUT.as_dict()}

    @contextlib.contextmanager
    def streaming(
        self, method: str, url: httpx.URL | str, *, headers: Mapping[str, str], content: bytes | None = None
    ) -> Iterator[httpx.Response]:
        """One request; the token only where it is for. CivitaiUnreachable where nobody answers.

        It goes to the transport itself: a Client of httpx would follow redirects, keep cookies, and take twice the time.
        """
        parsed = check_url(url, private=self.site.private)
        own = {**self._own, **headers}
        if same(parsed) == self.site.origin:
            self.pace.wait()
            self.requests += 1
            if self.site.token:
                own["authorization"] = f"Bearer {self.site.token}"
        request = httpx.Request(method, parsed, headers=own, content=content, extensions=self._timeout)
        try:
            with contextlib.closing(self._transport.handle_request(request)) as response:
                response.request = request
                yield response
        except httpx.HTTPError as exc:
            raise CivitaiUnreachable(parsed.host, reason(exc)) from exc

    def ask(self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), content: bytes | None = None) -> Reply:
        """An answer of the API, through up to HOPS redirects, tried again where that can help. RegionBlocked, CivitaiBusy ..."""
        url = httpx.URL(f"{self.site.origin}{path}", params=list(query) or None)
        headers = {"accept": JSON, **({"content-type": JSON} if content is not None else {})}
        return self.patient(lambda: self._hop(method, url, headers, content))

    def _hop(self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | None) -> Reply:
        for _ in range(HOPS):
            with self.streaming(method, url, headers=headers, content=content) as response:
                reply, target = whole(response), moved(response)
            if target is None:
                return reply
            url = target
        raise CivitaiUnclear(shown(url), "it leads from one address to the next without an end")

    def patient(self, send: Callable[[], Reply]) -> Reply:
        """Send until there is an answer that another try would not better; what it says is raised where it is no answer."""
        trouble: RegistryError | None = None
        for tried in range(TRIES):
            wait = backoff(tried)
            try:
                reply = send()
            except CivitaiUnreachable as exc:
                trouble = exc
            else:
                trouble = self.complaint(reply)
                if trouble is None:
                    return reply
                asked = wait_asked(reply)
                if reply.status == 429:
                    self.pace.halve()
                if (reply.status == 429 and asked is None) or (asked or 0) > PATIENCE:
                    raise trouble
                wait = max(wait, asked or 0)
            if tried + 1 < TRIES:
                self.sleep(wait)
        assert trouble is not None
        raise trouble

    def complaint(self, reply: Reply) -> RegistryError | None:
        """What stands in the way of an answer that another try may better, or that ends everything; None where it can be read."""
        host = self.site.host
        if reply.status == 451:
            raise RegionBlocked(host)
        if reply.status == 429:
            return CivitaiBusy(host, said(reply) or "429", wait_asked(reply))
        if reply.status in AGAIN:
            return CivitaiUnreachable(host, said(reply) or f"status {reply.status}")
        if reply.status == 200 and reply.media != JSON and not reply.media.startswith("text/event"):
            return CivitaiUnreachable(host, f"{reply.media or 'something'} in place of JSON, as while it is being maintained")
        return None

    def json(
        self, method: str, path: str, decode: Callable[[bytes], T], *, query: Sequence[tuple[str, str]] = (), content: bytes | None = None
    ) -> T | None:
        """What the API answers, read; None where it says that there is no such thing. CivitaiUnclear for all that is neither."""
        reply, what = self.ask(method, path, query=query, content=content), f"{method} {path}"
        if reply.status == 404 and reply.media == JSON:
            return None
        if reply.status != 200:
            raise CivitaiUnclear(what, f"status {reply.status}{f', {text}' if (text := said(reply)) else ''}", status=reply.status)
        try:
            return decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise CivitaiUnclear(what, f"it is not what was expected ({exc})") from exc

    def models(self, query: Sequence[tuple[str, str]]) -> wire.Listed:
        """One page of a list."""
        found = self.json("GET", "/api/v1/models", wire.page, query=query)
        if found is None:
            raise CivitaiUnclear("GET /api/v1/models", "nothing is found; is the creator's name right?")
        return found

    def model(self, id: int) -> wire.HeardModel | None:  # noqa: A002  # it is called so everywhere
        """A model with all its versions."""
        return self.json("GET", f"/api/v1/models/{id}", wire.model)

    def version(self, id: int) -> wire.HeardVersion | None:  # noqa: A002  # it is called so everywhere
        """A version with its files."""
        return self.json("GET", f"/api/v1/model-versions/{id}", one_version)

    def found(self, hashes: Sequence[str]) -> list[wire.Found]:
        """Which versions have these sha256, up to 10,000 at once."""
        body = msgspec.json.encode([each.upper() for each in hashes])
        return self.json("POST", "/api/v1/model-versions/by-hash/ids", founds, content=body) or []

    def versions(self, hashes: Sequence[str]) -> list[wire.HeardVersion]:
        """The versions that have these sha256, up to 100 at once, some twice."""
        body = msgspec.json.encode([each.upper() for each in hashes])
        return self.json("POST", "/api/v1/model-versions/by-hash", many_versions, content=body) or []

    def check_token(self) -> None:
        """BadToken where the token is not known: everything else would answer as to a stranger, without a word."""
        if self.site.token is None:
            return
        reply = self.ask("GET", "/api/v1/me")
        if reply.status in (401, 403) and reply.media == JSON:
            raise BadToken(f"{self.site.host} does not know the token, or it has expired.")
        if reply.status != 200:
            raise CivitaiUnclear("GET /api/v1/me", f"status {reply.status}")

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def moved(response: httpx.Response) -> httpx.URL | None:
    """Where an answer leads to, if it leads elsewhere. CivitaiUnclear where that is no address."""
    place = response.headers.get("location") if response.status_code in MOVED else None
    if place is None:
        return None
    try:
        return httpx.URL(urljoin(str(response.request.url), place))  # URL.join reads a long address twice
    except (httpx.InvalidURL, ValueError) as exc:
        raise CivitaiUnclear(shown(response.request.url), "it leads to something that is no address") from exc


def backoff(tried: int) -> float:
    """Seconds until the next try."""
    return min(LONGEST, FIRST * 2.0**tried) * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, no secret


def whole(response: httpx.Response) -> Reply:
    """An answer with its body, no more of it than anyone needs."""
    pieces, size = [], 0
    for piece in response.iter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise CivitaiUnclear(shown(response.request.url), f"it is larger than {LARGEST:,} bytes")
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Reply(response.status_code, media, b"".join(pieces), response.headers)


def wait_asked(reply: Reply) -> float | None:
    """Retry-After in seconds, where it is said: as a number, or as the moment that it means."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 8:
        return float(text)
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def said(reply: Reply) -> str:
    """What an error's body says, in one line; nothing of a page for people."""
    if reply.media != JSON:
        return ""
    try:
        body = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    text = next((body[name] for name in ("message", "error") if isinstance(body.get(name), str)), "") if isinstance(body, dict) else ""
    return " ".join(text.split())[:300]


def reason(exc: httpx.HTTPError) -> str:
    """Why nobody answered."""
    return LATE.get(type(exc)) or str(exc) or type(exc).__name__


def one_version(data: bytes) -> wire.HeardVersion:
    """A version by itself."""
    return wire.version(msgspec.json.decode(data, type=dict[str, Any]))


def many_versions(data: bytes) -> list[wire.HeardVersion]:
    """Versions in a list, in which nothing may stand for one that cannot be told."""
    found = []
    for each in msgspec.json.decode(data, type=list[Any]):
        if isinstance(each, dict):
            with contextlib.suppress(msgspec.ValidationError):
                found.append(wire.version(each))
    return found


def founds(data: bytes) -> list[wire.Found]:
    """Answers of by-hash/ids."""
    found = []
    for each in msgspec.json.decode(data, type=list[Any]):
        with contextlib.suppress(msgspec.ValidationError):
            found.append(wire.read(each, wire.Found))
    return found
