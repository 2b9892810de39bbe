"""One file of Civitai's: from the address that the API gives to bytes whose hash is the one it told, resumed where they broke off."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from embconv.converters.display import printable, quoted

from ..blobs import Blobs, Writer
from .client import AGAIN, HOPS, JSON, PATIENCE, TRIES, Client, Reply, backoff, moved, said, wait_asked, whole
from .errors import CivitaiBusy, CivitaiUnreachable, FetchFailed, NotTaken, RegionBlocked
from .site import same, shown

SMALL = 1 << 20               # bytes that are kept in memory
RESUMES = 6                   # times that a transfer may break off
SENT = (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT)
PAGES = ("text/", "application/json", "application/xhtml+xml")
RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
LOGIN = ("/login", "/model-versions/", "/models/")


class Wanted(Struct, frozen=True, kw_only=True):
    """A file that is wanted: where the API has it, its sha256 if that is known, and how many bytes it should have, which is a hint."""

    path: str
    sha256: str | None
    size: int | None
    limit: int


class Sink:
    """Bytes as they come: in memory while they are few, in a file of `blobs` when they are more. Close it."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self.writer: Writer | None = None
        self.restart()

    def restart(self) -> None:
        """From the first byte again."""
        self.close()
        self.size, self._memory, self._hash = 0, bytearray(), hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self.size += len(piece)
        self._hash.update(piece)
        if self.writer is None and self.size > SMALL:
            self.writer = self._blobs.writer()
            self.writer.write(bytes(self._memory))
            self._memory.clear()
        if self.writer is None:
            self._memory += piece
        else:
            self.writer.write(piece)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def data(self) -> bytes:
        """All of it, where it is in memory."""
        return bytes(self._memory)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.discard()
            self.writer = None


class Transfer(Struct):
    """How far it has come: the address of the bytes, their tag, how many times it broke off, and why the last time."""

    url: httpx.URL | None = None
    tag: str | None = None
    broken: int = 0
    why: str = ""


def fetch(client: Client, wanted: Wanted, sink: Sink) -> None:
    """Fill the sink with the file. NotTaken with its reason, FetchFailed, or what stops every file: CivitaiBusy, RegionBlocked."""
    transfer = Transfer()
    while True:
        if transfer.url is None:
            transfer.url = address(client, wanted)
        try:
            if receive(client, wanted, sink, transfer):
                break
        except CivitaiUnreachable as exc:
            transfer.why = exc.says
        transfer.broken += 1
        if transfer.broken > RESUMES:
            times = f"{transfer.broken} times, after {sink.size:,} bytes at last"
            raise FetchFailed(f"The transfer broke off {times}: {printable(transfer.why)}")
        if transfer.url is not None:
            client.sleep(backoff(transfer.broken - 1))
    verify(wanted, sink)


def verify(wanted: Wanted, sink: Sink) -> None:
    """FetchFailed where the bytes are not those that the API told of."""
    if wanted.sha256 is not None and sink.sha256 != wanted.sha256:
        size = f" ({sink.size:,} bytes, {wanted.size:,} expected)" if wanted.size not in (None, sink.size) else ""
        says = f"Its bytes{size} have the sha256 {sink.sha256[:12]}..., Civitai says {wanted.sha256[:12]}...; nothing was kept."
        raise FetchFailed(says, "The file may have been replaced, or its record is wrong. The next run tries again.")
    if sink.size == 0:
        raise FetchFailed("It has no bytes.")


def address(client: Client, wanted: Wanted) -> httpx.URL:
    """Where the bytes lie: what the API redirects to, or itself where it sends them."""
    url = httpx.URL(f"{client.site.origin}{wanted.path}")
    trouble: CivitaiBusy | CivitaiUnreachable | None = None
    for tried in range(TRIES):
        try:
            with client.streaming("GET", url, headers={"accept": "*/*", "accept-encoding": "identity"}) as response:
                if (target := redirected(client, response)) is not None:
                    return target
                if response.status_code in SENT and not page(response):
                    return url
                reply = whole(response)
        except CivitaiUnreachable as exc:
            trouble, wait = exc, 0.0
        else:
            trouble, wait = refused(client, reply), wait_asked(reply) or 0.0
        if tried + 1 < TRIES:
            client.sleep(max(wait, backoff(tried)))
    assert trouble is not None
    raise FetchFailed(trouble.says) from trouble


def redirected(client: Client, response: httpx.Response) -> httpx.URL | None:
    """The address that a redirect names; None where it is none. NotTaken where that is a page to log in."""
    url = moved(response)
    if url is None:
        return None
    if same(url) == client.site.origin and url.path.startswith(LOGIN):
        if client.site.token:  # which the API has never asked of us with a redirect
            raise FetchFailed("It leads to a page to log in, in spite of the token.", "Is the token still valid? The next run tries again.")
        raise login(client, "It leads to a page to log in.")
    whole(response)  # so that the connection can be used again
    return url


def login(client: Client, says: str) -> NotTaken:
    """Only members may have it."""
    if client.site.token:
        return NotTaken("login_required", says, "The account of the token may not have it; it is tried again in a day.", again="day")
    return NotTaken("login_required", says, "With a token of your account it may go: EMBCONV_CIVITAI_TOKEN.", again="token")


def refused(client: Client, reply: Reply) -> CivitaiBusy | CivitaiUnreachable:
    """What an answer without bytes means, raised; returned where another try may help.

    Order and bodies: civitai/civitai src/pages/api/download/models/[modelVersionId].ts, file.service.ts.
    """
    text, status = said(reply), reply.status
    if status == 451:
        raise RegionBlocked(client.site.host)
    if status == 429:
        client.pace.halve()
        asked = wait_asked(reply)
        busy = CivitaiBusy(client.site.host, text or "429", asked)
        if asked is None or asked > PATIENCE:
            raise busy
        return busy
    if status in AGAIN or (status == 404 and "private" in reply.headers.get("cache-control", "")):
        return CivitaiUnreachable(client.site.host, text or f"status {status}")  # its storage is not there for a moment
    if status in (200, 206):
        return CivitaiUnreachable(client.site.host, "a page came in place of the file")
    if reply.media != JSON:  # not from the API itself, so that it says nothing of the file
        raise FetchFailed(f"Civitai answered {status} with a page in place of an answer.")
    raise denied(client, status, text, fields(reply))


def denied(client: Client, status: int, text: str, body: Mapping[str, Any]) -> FetchFailed | NotTaken:
    """Why the API itself does not give a file out, in the order of its checks."""
    if status == 401 and "disabled" in text.lower():
        return NotTaken("generation_only", "Its creator has disabled downloads.", "It can only be used at Civitai itself.")
    if status == 401:
        return login(client, text or "It needs an account.")
    if status == 403 and body.get("error") == "Early Access":
        until = body.get("deadline")
        says = f"It is in early access{f' until {until}' if isinstance(until, str) else ''}."
        return NotTaken("early_access", says, "It is tried again after that.", again=until if isinstance(until, str) else "day")
    if status == 403 and "access to download" in text:
        bought = NotTaken("early_access", text, "It has to be bought at Civitai.", again="day")
        return bought if client.site.token else login(client, text)
    if status == 404:
        hint = "A 404 can be temporary; it is tried again in a day."
        return NotTaken("not_found", text or "Civitai has no such file any more.", hint, again="day")
    if status == 410:
        return NotTaken("archived", text or "The model is archived.", "It is tried again in a day.", again="day")
    return FetchFailed(f"Civitai answered {status}{f': {text}' if text else ''}.")


def fields(reply: Reply) -> dict[str, Any]:
    """The body of an error."""
    try:
        found = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def receive(client: Client, wanted: Wanted, sink: Sink, transfer: Transfer) -> bool:
    """Take bytes from where they lie, after those that are here; True when it has all."""
    for _ in range(HOPS):
        assert transfer.url is not None
        with client.streaming("GET", transfer.url, headers=asking(sink, transfer)) as response:
            target = redirected(client, response)
            if target is None:
                return take(wanted, sink, transfer, response)
            transfer.url = target
    raise FetchFailed(f"Its address leads from one to the next without an end, at last to {quoted(shown(transfer.url or ''))}.")


def asking(sink: Sink, transfer: Transfer) -> dict[str, str]:
    """The headers: for the rest only, if what is there is still the same."""
    headers = {"accept": "*/*", "accept-encoding": "identity"}
    if sink.size and transfer.tag:
        headers |= {"range": f"bytes={sink.size}-", "if-range": transfer.tag}
    elif sink.size:
        sink.restart()
    return headers


def take(wanted: Wanted, sink: Sink, transfer: Transfer, response: httpx.Response) -> bool:
    """The bytes of one answer; True when it has all, False when it has to be asked again."""
    if response.status_code == 416:
        if sink.size and sink.size == total(response.headers):
            return True
        sink.restart()
        return False
    transfer.why = f"its storage answered {response.status_code}."
    if response.status_code in (400, 401, 403):  # a signature that has expired: the API gives another
        transfer.url = None
        return False
    if response.status_code >= 500:
        return False
    if response.status_code not in SENT:
        raise FetchFailed(f"Its storage answered {response.status_code}.")
    if page(response):
        raise FetchFailed(f"A page came in place of the file ({response.headers.get('content-type')}); nothing was kept.")
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise FetchFailed("It came packed, which was not asked for; nothing was kept.")
    expected = begin(sink, transfer, response)
    if (expected or 0) > wanted.limit:
        raise too_large(wanted, expected or 0)
    for piece in response.iter_raw():
        sink.write(piece)
        if sink.size > wanted.limit:
            raise too_large(wanted, sink.size)
    return expected is None or sink.size >= expected


def begin(sink: Sink, transfer: Transfer, response: httpx.Response) -> int | None:
    """Make ready for what comes, from the first byte again where it is not the rest; how many bytes there are in all."""
    tag = response.headers.get("etag", "")
    match = RANGE.fullmatch(response.headers.get("content-range", ""))
    if response.status_code == 206 and match and int(match[1]) == sink.size and transfer.tag in (None, tag):
        expected = None if match[3] == "*" else int(match[3])
    elif response.status_code == 206:
        raise FetchFailed("Its storage sent another part than was asked for; nothing was kept.")
    else:
        sink.restart()
        length = response.headers.get("content-length", "")
        expected = int(length) if length.isascii() and length.isdigit() else None
    transfer.tag = tag if tag and tag.isascii() and not tag.startswith("W/") else None
    return expected


def too_large(wanted: Wanted, size: int) -> FetchFailed | NotTaken:
    """More bytes than any embedding has; where fewer were told of, those of something else."""
    if wanted.size is not None and wanted.size <= wanted.limit:
        return FetchFailed(f"{size:,} bytes or more came, {wanted.size:,} were expected, and at most {wanted.limit:,} are fetched.")
    return NotTaken("not_an_embedding", f"It has {size:,} bytes or more; at most {wanted.limit:,} are fetched.", "")


def page(response: httpx.Response) -> bool:
    """Is this a page for people, or an error, and not a file?"""
    media: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media.startswith(PAGES)


def total(headers: Mapping[str, str]) -> int | None:
    """How many bytes there are, of a 416."""
    text = headers.get("content-range", "").rpartition("/")[2]
    return int(text) if text.isascii() and text.isdigit() else None

