"""One file: which bytes are taken, from where on they are asked for again, and why a file is passed over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from embconv.registry.blobs import Blobs
from embconv.registry.civitai.client import JSON, PATIENCE, TRIES, Client
from embconv.registry.civitai.downloads import RESUMES, SMALL, Sink, Wanted, fetch
from embconv.registry.civitai.errors import CivitaiBusy, FetchFailed, NotTaken, RegionBlocked
from embconv.registry.civitai.site import Site

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
PLACE = "https://storage.example/file?X-Amz-Signature=abc"
Storage = Callable[[httpx.Request], httpx.Response]


class World:
    """An API that leads to a storage, both functions; what was asked of each."""

    def __init__(self, storage: Storage | None = None, *, api: Storage | None = None, token: str | None = "s3cret") -> None:
        self.api_asked: list[httpx.Request] = []
        self.storage_asked: list[httpx.Request] = []
        self.waits: list[float] = []
        self._storage, self._api = storage or whole(DATA), api or (lambda request: httpx.Response(307, headers={"location": PLACE}))
        self.client = Client(Site(token=token), rate=0, sleep=self.waits.append, transport_=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        own = request.url.host == "civitai.com"
        (self.api_asked if own else self.storage_asked).append(request)
        made = self._api(request) if own else self._storage(request)
        if made.is_closed:  # made of content, which httpx has read already
            return httpx.Response(made.status_code, headers=made.headers, stream=httpx.ByteStream(made.content))
        return made


class Cut(httpx.SyncByteStream):
    """Some bytes, then the connection breaks."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx.ReadError("connection reset")


def whole(data: bytes, **headers: str) -> Storage:
    return lambda request: httpx.Response(200, headers={"content-type": "application/octet-stream", "etag": '"1"', **headers}, content=data)


def part(request: httpx.Request, data: bytes = DATA, *, etag: str = '"1"', cut: int | None = None) -> httpx.Response:
    """What a storage that knows Range sends; with `cut` only so many bytes of it."""
    start = int(request.headers.get("range", "bytes=0-")[6:-1])
    headers = {"content-type": "application/octet-stream", "etag": etag, "content-length": str(len(data) - start)}
    status = 200
    if "range" in request.headers:
        status, headers["content-range"] = 206, f"bytes {start}-{len(data) - 1}/{len(data)}"
    body = data[start:]
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body) if cut is None or cut >= len(body) else Cut(body[:cut]))


def in_turn(*answers: Storage) -> Storage:
    """One answer after the other."""
    turns = iter(answers)

    def storage(request: httpx.Request) -> httpx.Response:
        return next(turns)(request)

    return storage


@pytest.fixture
def sink(blobs: Blobs) -> Iterator[Sink]:
    made = Sink(blobs)
    yield made
    made.close()


def wanted(**said: Any) -> Wanted:
    return Wanted(**{"path": "/api/download/models/1?fileId=2", "sha256": SHA256, "size": len(DATA), "limit": 1 << 20, **said})


# what is taken


def test_the_bytes_are_those_and_the_token_stays_with_the_api(sink: Sink) -> None:
    world = World()
    fetch(world.client, wanted(), sink)
    assert (sink.data, sink.sha256, sink.size) == (DATA, SHA256, len(DATA))
    assert [request.headers.get("authorization") for request in world.api_asked] == ["Bearer s3cret"]
    assert all("authorization" not in request.headers for request in world.storage_asked)
    assert world.storage_asked[0].headers["accept-encoding"] == "identity"


def test_the_api_may_send_the_bytes_itself(sink: Sink) -> None:
    world = World(api=whole(DATA))
    fetch(world.client, wanted(), sink)
    assert sink.data == DATA
    assert world.storage_asked == []


def test_large_ones_go_to_the_disk(sink: Sink) -> None:
    data = bytes(SMALL + 1000)
    fetch(World(whole(data)).client, wanted(sha256=hashlib.sha256(data).hexdigest(), size=len(data), limit=SMALL * 2), sink)
    assert sink.writer is not None
    with open(sink.writer.path, "rb") as file:
        assert file.read() == data


def test_without_a_hash_any_bytes_are_taken(sink: Sink) -> None:
    fetch(World(whole(b"whatever")).client, wanted(sha256=None, size=None), sink)
    assert sink.data == b"whatever"


def test_a_size_is_only_a_hint(sink: Sink) -> None:
    fetch(World().client, wanted(size=7), sink)
    assert sink.data == DATA


@pytest.mark.parametrize("data", [DATA[:-1] + b"\0", DATA + b"\0", DATA[:-1], b"<html>"])
def test_other_bytes_are_refused(sink: Sink, data: bytes) -> None:
    with pytest.raises(FetchFailed, match="sha256") as raised:
        fetch(World(whole(data)).client, wanted(), sink)
    assert raised.value.hint


def test_nothing_at_all_is_no_file(sink: Sink) -> None:
    with pytest.raises(FetchFailed, match="no bytes"):
        fetch(World(whole(b"")).client, wanted(sha256=None, size=None), sink)


@pytest.mark.parametrize("media", ["text/html", "text/html; charset=utf-8", "TEXT/HTML", "application/json", "application/xhtml+xml"])
def test_a_page_is_never_a_file(sink: Sink, media: str) -> None:
    with pytest.raises(FetchFailed, match="page came"):
        fetch(World(whole(b"<html>", **{"content-type": media})).client, wanted(sha256=None), sink)
    assert sink.size == 0


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "gzip, gzip", "GZIP"])
def test_what_comes_packed_is_not_unfolded(sink: Sink, coding: str) -> None:
    def packed(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": coding}, stream=httpx.ByteStream(DATA))

    with pytest.raises(FetchFailed, match="packed"):
        fetch(World(packed).client, wanted(), sink)
    assert sink.size == 0


def test_more_than_the_limit_is_refused_before_it_is_read_where_that_is_said(sink: Sink) -> None:
    with pytest.raises(NotTaken, match="at most 100") as raised:
        fetch(World().client, wanted(size=None, limit=100), sink)
    assert (raised.value.reason, sink.size) == ("not_an_embedding", 0)


def test_more_than_the_limit_is_left_where_nothing_is_said(sink: Sink) -> None:
    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield bytes(64)

    with pytest.raises(NotTaken):
        fetch(World(lambda request: httpx.Response(200, stream=Endless())).client, wanted(size=None, limit=1000), sink)
    assert sink.size <= 1064


def test_more_than_was_told_is_a_failure_and_not_the_files_fault(sink: Sink) -> None:
    with pytest.raises(FetchFailed):
        fetch(World(whole(bytes(5000))).client, wanted(size=10, limit=1000), sink)


# going on


def test_a_transfer_goes_on_at_the_byte_where_it_broke_off(sink: Sink) -> None:
    world = World(lambda request: part(request, cut=3000))
    fetch(world.client, wanted(), sink)
    assert sink.data == DATA
    assert [request.headers.get("range") for request in world.storage_asked] == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-"]
    assert {request.headers["if-range"] for request in world.storage_asked[1:]} == {'"1"'}
    assert len(world.api_asked) == 1


def test_it_goes_on_only_so_many_times(sink: Sink) -> None:
    world = World(lambda request: part(request, cut=1))
    with pytest.raises(FetchFailed, match="broke off 7 times"):
        fetch(world.client, wanted(), sink)
    assert len(world.storage_asked) == RESUMES + 1
    assert world.waits == sorted(world.waits)


@pytest.mark.parametrize("etag", ["", 'W/"1"', '"caf\xe9"'], ids=["none", "weak", "no ascii"])
def test_without_a_tag_that_holds_it_begins_anew(sink: Sink, etag: str) -> None:
    turns = iter([3000, None])

    def storage(request: httpx.Request) -> httpx.Response:
        made = part(request, cut=next(turns))
        made.headers = httpx.Headers([(name, value) for name, value in made.headers.raw if name != b"etag"] + ([(b"etag", etag.encode("latin-1"))] if etag else []))
        return made

    world = World(storage)
    fetch(world.client, wanted(), sink)
    assert sink.data == DATA
    assert "range" not in world.storage_asked[1].headers


def test_another_tag_means_another_file_from_the_beginning(sink: Sink) -> None:
    other = DATA[::-1]
    turns = in_turn(lambda request: part(request, DATA, cut=3000), whole(other, etag='"2"'))
    fetch(World(turns).client, wanted(sha256=hashlib.sha256(other).hexdigest()), sink)
    assert sink.data == other


def test_a_part_of_another_file_is_never_joined(sink: Sink) -> None:
    turns = in_turn(lambda request: part(request, cut=3000), lambda request: part(request, DATA[::-1], etag='"2"'))
    with pytest.raises(FetchFailed, match="another part"):
        fetch(World(turns).client, wanted(), sink)


def test_another_part_than_was_asked_for_is_refused(sink: Sink) -> None:
    def storage(request: httpx.Request) -> httpx.Response:
        if "range" not in request.headers:
            return part(request, cut=3000)
        return httpx.Response(206, headers={"etag": '"1"', "content-range": f"bytes 10-{len(DATA) - 1}/{len(DATA)}"}, content=DATA[10:])

    with pytest.raises(FetchFailed, match="another part"):
        fetch(World(storage).client, wanted(), sink)


def test_a_part_that_nobody_asked_for_is_refused_unless_it_is_the_beginning(sink: Sink) -> None:
    with pytest.raises(FetchFailed):
        fetch(World(lambda request: httpx.Response(206, headers={"content-range": "bytes 5-9/10"}, content=b"x")).client, wanted(), sink)


def test_all_of_it_in_answer_to_a_range_is_taken_from_the_first_byte(sink: Sink) -> None:
    turns = in_turn(lambda request: part(request, cut=3000), whole(DATA))
    fetch(World(turns).client, wanted(), sink)
    assert sink.data == DATA


def test_416_with_all_bytes_here_is_the_end(sink: Sink) -> None:
    turns = in_turn(
        lambda request: httpx.Response(200, headers={"etag": '"1"', "content-length": str(len(DATA) + 1)}, stream=Cut(DATA)),
        lambda request: httpx.Response(416, headers={"content-range": f"bytes */{len(DATA)}"}),
    )  # fmt: skip
    fetch(World(turns).client, wanted(), sink)
    assert sink.data == DATA


def test_416_otherwise_begins_anew(sink: Sink) -> None:
    turns = in_turn(lambda request: part(request, cut=3000), lambda request: httpx.Response(416), whole(DATA))
    fetch(World(turns).client, wanted(), sink)
    assert sink.data == DATA


@pytest.mark.parametrize("status", [400, 401, 403])
def test_an_expired_address_is_asked_for_again_and_it_goes_on_where_it_was(sink: Sink, status: int) -> None:
    turns = in_turn(lambda request: part(request, cut=3000), lambda request: httpx.Response(status), part)
    world = World(turns)
    fetch(world.client, wanted(), sink)
    assert sink.data == DATA
    assert (len(world.api_asked), world.storage_asked[-1].headers["range"]) == (2, "bytes=3000-")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_storage_in_trouble_is_asked_again_with_pauses(sink: Sink, status: int) -> None:
    turns = iter([httpx.Response(status), httpx.Response(status), httpx.Response(status)])
    world = World(lambda request: next(turns, None) or part(request))
    fetch(world.client, wanted(), sink)
    assert len(world.waits) == 3
    world = World(lambda request: httpx.Response(status))
    with pytest.raises(FetchFailed, match=str(status)):
        fetch(world.client, wanted(), sink)


@pytest.mark.parametrize("status", [204, 300, 304, 404, 410, 429])
def test_what_a_storage_does_not_have_is_a_failure(sink: Sink, status: int) -> None:
    with pytest.raises(FetchFailed, match=str(status)):
        fetch(World(lambda request: httpx.Response(status)).client, wanted(), sink)


# what the API says in place of it


def said(status: int, body: Any, **headers: str) -> Storage:
    return lambda request: httpx.Response(status, headers={"content-type": JSON, **headers}, content=json.dumps(body).encode())


DISABLED = {"error": "Unauthorized", "message": "The creator of this asset has disabled downloads on this file"}
LOGIN = {"error": "Unauthorized", "message": "The creator of this asset requires you to be logged in to download it"}
EARLY = {"error": "Early Access", "deadline": "2026-08-12T08:18:36.063Z", "message": "This asset is in Early Access. You can use Buzz access it now!"}
NO_DATE = {"error": "Early Access", "message": "This asset is in Early Access. You can use Buzz access it now!"}
NO_ACCESS = {"error": "You do not have access to download this file"}
GONE = {"error": "Model archived, not available for download"}

# body, with a token -> the reason, and when it is tried again
PASSED_OVER: tuple[tuple[int, Any, bool, str, str], ...] = (
    (401, DISABLED, True, "generation_only", ""),
    (401, DISABLED, False, "generation_only", ""),
    (401, LOGIN, False, "login_required", "token"),
    (401, LOGIN, True, "login_required", "day"),
    (401, {"error": "Unauthorized"}, False, "login_required", "token"),
    (403, EARLY, True, "early_access", "2026-08-12T08:18:36.063Z"),
    (403, EARLY, False, "early_access", "2026-08-12T08:18:36.063Z"),
    (403, NO_DATE, True, "early_access", "day"),
    (403, NO_ACCESS, True, "early_access", "day"),
    (403, NO_ACCESS, False, "login_required", "token"),
    (404, {"error": "File not found"}, True, "not_found", "day"),
    (410, GONE, True, "archived", "day"),
)


@pytest.mark.parametrize(("status", "body", "token", "reason", "again"), PASSED_OVER)
def test_a_file_is_passed_over_for_a_reason_and_asked_for_once(sink: Sink, status: int, body: Any, token: bool, reason: str, again: str) -> None:
    world = World(api=said(status, body), token="s3cret" if token else None)
    with pytest.raises(NotTaken) as raised:
        fetch(world.client, wanted(), sink)
    assert (raised.value.reason, raised.value.again) == (reason, again)
    assert raised.value.says.strip()
    assert len(world.api_asked) == 1


@pytest.mark.parametrize("place", ["/login?returnUrl=%2Fx", "https://civitai.com/login", "/model-versions/5", "/models/5"])
def test_a_way_to_a_page_to_log_in_is_no_file(sink: Sink, place: str) -> None:
    leads: Storage = lambda request: httpx.Response(307, headers={"location": place})  # noqa: E731  # it is one
    with pytest.raises(NotTaken) as raised:
        fetch(World(api=leads, token=None).client, wanted(), sink)
    assert (raised.value.reason, raised.value.again) == ("login_required", "token")
    with pytest.raises(FetchFailed, match="token"):
        fetch(World(api=leads).client, wanted(), sink)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 500])
def test_a_page_of_the_edge_says_nothing_of_a_file(sink: Sink, status: int) -> None:
    world = World(api=lambda request: httpx.Response(status, headers={"content-type": "text/html"}, content=b"<html>"))
    with pytest.raises(FetchFailed, match=str(status)):
        fetch(world.client, wanted(), sink)


@pytest.mark.parametrize("answer", [said(404, {"error": "File not found"}, **{"cache-control": "private, no-store"}), said(503, {}), said(502, {}), said(200, {})],
                         ids=["404 private", "503", "502", "json 200"])  # fmt: skip
def test_what_is_over_soon_is_tried_again_and_then_left_to_the_next_run(sink: Sink, answer: Storage) -> None:
    world = World(api=answer)
    with pytest.raises(FetchFailed):
        fetch(world.client, wanted(), sink)
    assert (len(world.api_asked), len(world.waits)) == (TRIES, TRIES - 1)


def test_the_download_counter_ends_the_run(sink: Sink) -> None:
    text = "We've noticed an unusual amount of downloading from your account."
    for headers in ({}, {"retry-after": str(int(PATIENCE) + 1)}):
        world = World(api=said(429, {"error": text}, **headers))
        with pytest.raises(CivitaiBusy, match="unusual"):
            fetch(world.client, wanted(), sink)
        assert len(world.api_asked) == 1
        assert world.client.pace.rate > 0


def test_a_short_wait_is_waited_for(sink: Sink) -> None:
    turns = in_turn(said(429, {}, **{"retry-after": "9"}), lambda request: httpx.Response(307, headers={"location": PLACE}))
    world = World(api=turns)
    fetch(world.client, wanted(), sink)
    assert sink.data == DATA
    assert 9 in world.waits


def test_a_region_ends_the_run(sink: Sink) -> None:
    with pytest.raises(RegionBlocked):
        fetch(World(api=said(451, {"error": "x", "code": "REGION_BLOCKED"})).client, wanted(), sink)


@pytest.mark.parametrize(("status", "says"), [(500, FetchFailed), (404, NotTaken), (401, NotTaken), (403, FetchFailed)])
def test_what_civitai_writes_cannot_colour_a_terminal(sink: Sink, status: int, says: type[Exception]) -> None:
    with pytest.raises(says) as raised:
        fetch(World(api=said(status, {"error": "\x1b[31mred\x07\u202egpj"})).client, wanted(), sink)
    assert "red" in str(raised.value)
    assert not {"\x1b", "\x07", "\u202e"} & set(str(raised.value))


def test_no_failure_shows_a_signature(sink: Sink) -> None:
    for storage in (whole(b"x"), lambda request: httpx.Response(500), lambda request: httpx.Response(307, headers={"location": PLACE})):
        with pytest.raises(FetchFailed) as raised:
            fetch(World(storage).client, wanted(), sink)
        assert "X-Amz" not in str(raised.value)
