"""How the API is asked: what is tried again and when, what is believed, and who sees the token."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.civitai import Account, Fake, generate, serve
from synced import Trap, calm, check_token_stays_home, run, trap

from embconv.registry.civitai import client as asking
from embconv.registry.civitai.client import LARGEST, LONGEST, PATIENCE, TRIES, Client, Pace, Reply, backoff, wait_asked
from embconv.registry.civitai.errors import AddressRefused, BadToken, CivitaiBusy, CivitaiUnclear, CivitaiUnreachable, RegionBlocked
from embconv.registry.civitai.site import Site
from embconv.registry.errors import RegistryError

JSON = {"content-type": "application/json; charset=utf-8"}
HTML = {"content-type": "text/html; charset=utf-8"}
Handler = Callable[[httpx.Request], httpx.Response]


class Asked:
    """A client whose network is a function, what it sent, and how long it waited."""

    def __init__(self, *answers: httpx.Response | Exception | Handler, token: str | None = "s3cret", rate: float = 0) -> None:
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []
        self._answers = list(answers)
        self.client = Client(Site(token=token), rate=rate, sleep=self.waits.append, transport_=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, httpx.Response):
            return answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def reply(status: int, body: Any = b"", **headers: str) -> httpx.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(status, headers={**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}, content=data)


def page(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers={**HTML, **headers}, content=b"<html>Just a moment...</html>")


LIST = reply(200, {"items": [], "metadata": {}})


# trying again


@pytest.mark.parametrize("status", [502, 503, 504, 520, 521, 522, 523, 524])
@pytest.mark.parametrize("make", [reply, page], ids=["json", "html"])
def test_what_is_over_soon_is_tried_four_times(status: int, make: Any) -> None:
    asked = Asked(make(status))
    with pytest.raises(CivitaiUnreachable, match=str(status)):
        asked.client.models([])
    assert len(asked.requests) == TRIES == 4
    assert len(asked.waits) == TRIES - 1


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout(""), httpx.ReadTimeout(""), httpx.RemoteProtocolError("cut"), httpx.ReadError("")])
def test_a_connection_that_breaks_is_tried_four_times(error: Exception) -> None:
    asked = Asked(error)
    with pytest.raises(CivitaiUnreachable) as raised:
        asked.client.models([])
    assert len(asked.requests) == TRIES
    assert raised.value.hint


@pytest.mark.parametrize("status", [400, 401, 402, 403, 405, 418, 422, 500, 501])
@pytest.mark.parametrize("make", [reply, page], ids=["json", "html"])
def test_what_another_try_cannot_better_is_asked_once(status: int, make: Any) -> None:
    asked = Asked(make(status))
    with pytest.raises(CivitaiUnclear, match=str(status)):
        asked.client.models([])
    assert (len(asked.requests), asked.waits) == (1, [])


def test_what_comes_good_is_an_answer() -> None:
    asked = Asked(httpx.ReadError(""), page(503), reply(502), LIST)
    assert asked.client.models([]).items == ()
    assert len(asked.requests) == 4


def test_waits_double_and_differ_by_a_fifth() -> None:
    for tried, middle in enumerate((0.25, 0.5, 1, 2, 4, 5, 5, 5)):
        waits = {backoff(tried) for _ in range(50)}
        assert middle * 0.8 <= min(waits) < max(waits) <= middle * 1.2
    assert backoff(60) <= LONGEST * 1.2


def test_a_region_is_not_asked_again() -> None:
    asked = Asked(reply(451, {"error": "Access ...", "code": "REGION_BLOCKED"}))
    with pytest.raises(RegionBlocked):
        asked.client.models([])
    assert len(asked.requests) == 1


# 429 and Retry-After


def test_a_429_without_a_time_is_final_and_halves_the_rate() -> None:
    asked = Asked(reply(429, {"error": "You've requested too many pages, please use cursors instead"}), rate=4)
    with pytest.raises(CivitaiBusy, match="too many pages"):
        asked.client.models([])
    assert (len(asked.requests), asked.client.pace.rate) == (1, 2)


def test_a_429_with_a_time_waits_that_long_and_halves_the_rate_each_time() -> None:
    asked = Asked(reply(429, Retry_After="7"), reply(429, Retry_After="11"), LIST, rate=1_000_000)
    asked.client.models([])
    assert [wait for wait in asked.waits if wait > 1] == [7, 11]
    assert asked.client.pace.rate == 250_000


def test_a_503_waits_at_least_as_long_as_it_asks_to() -> None:
    asked = Asked(reply(503, {"error": "overloaded"}, Retry_After="2"), LIST)
    asked.client.models([])
    assert asked.waits == [2]


@pytest.mark.parametrize("status", [429, 503])
def test_more_than_a_minute_is_left_to_the_next_run(status: int) -> None:
    asked = Asked(reply(status, Retry_After=str(int(PATIENCE) + 1)))
    with pytest.raises((CivitaiBusy, CivitaiUnreachable)):
        asked.client.models([])
    assert (len(asked.requests), asked.waits) == (1, [])


@pytest.mark.parametrize("text", ["-1", "soon", "1e9", "٣", "", "99999999999999999999", "nan"])
def test_a_time_that_is_none_is_no_time(text: str) -> None:
    asked = Asked(httpx.Response(429, headers=[(b"content-type", b"application/json"), (b"retry-after", text.encode())], content=b"{}"))
    with pytest.raises(CivitaiBusy):
        asked.client.models([])
    assert asked.waits == []


def test_without_a_limit_a_429_sets_one() -> None:
    pace = Pace(0, lambda _: None)
    pace.wait()
    pace.halve()
    assert pace.rate == asking.SLOW
    pace.halve()
    assert pace.rate == asking.SLOW / 2


# the pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only sleep moves."""
    now = [100.0]
    monkeypatch.setattr(asking.time, "monotonic", lambda: now[0])
    return now


def test_so_many_requests_a_second_and_no_more(clock: list[float]) -> None:
    def sleep(seconds: float) -> None:
        clock[0] += seconds

    pace = Pace(4, sleep)
    for _ in range(9):
        pace.wait()
    assert clock[0] == pytest.approx(102)


def test_time_that_was_not_used_is_not_made_up_for(clock: list[float]) -> None:
    waits: list[float] = []
    pace = Pace(1, waits.append)
    pace.wait()
    clock[0] += 60
    pace.wait()
    pace.wait()
    assert waits == [1]


def test_threads_share_the_pace(clock: list[float]) -> None:
    waits: list[float] = []
    pace = Pace(1, waits.append)
    threads = [threading.Thread(target=pace.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == [1, 2, 3, 4]


# what is believed


@pytest.mark.parametrize("media", ["text/html", "text/plain", "application/xml", ""])
def test_a_page_with_status_200_is_no_answer_and_may_be_over_soon(media: str) -> None:
    asked = Asked(httpx.Response(200, headers={"content-type": media}, content=b"We're adjusting a few things"))
    with pytest.raises(CivitaiUnreachable, match="in place of JSON"):
        asked.client.models([])
    assert len(asked.requests) == TRIES


def test_nothing_is_there_only_where_json_says_so() -> None:
    assert Asked(reply(404, {"error": "No model with id 5"})).client.model(5) is None
    with pytest.raises(CivitaiUnclear, match="404"):
        Asked(page(404)).client.model(5)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"items": [{"id": 1, ]}', b"null", b"[]", b'{"items": {}}', b'{"items": null}', b'{"metadata": {}}', b"\xff\xfe",
     b"[" * 100_000, b'{"items": ' + b"[" * 100_000, b'{"items": [], "metadata": []}'],
    ids=lambda body: body[:20].decode("latin-1"),
)  # fmt: skip
def test_what_is_not_json_or_no_list_is_unclear(body: bytes) -> None:
    asked = Asked(reply(200, body))
    with pytest.raises(CivitaiUnclear) as raised:
        asked.client.models([])
    assert len(asked.requests) == 1
    assert raised.value.hint


def test_an_answer_that_is_cut_is_unclear() -> None:
    whole = json.dumps({"items": [{"id": n} for n in range(50)], "metadata": {"nextCursor": "5"}}).encode()
    for length in range(1, len(whole), 37):
        with pytest.raises(CivitaiUnclear):
            Asked(reply(200, whole[:length])).client.models([])


def test_a_gzip_bomb_is_left_before_it_has_unfolded() -> None:
    bomb = gzip.compress(b" " * (LARGEST + (1 << 20)))
    asked = Asked(lambda request: httpx.Response(200, headers={**JSON, "content-encoding": "gzip"}, stream=httpx.ByteStream(bomb)))
    with pytest.raises(CivitaiUnclear, match="larger"):
        asked.client.models([])
    assert len(asked.requests) == 1


def test_what_is_not_gzip_though_it_says_so_is_unreachable() -> None:
    asked = Asked(lambda request: httpx.Response(200, headers={**JSON, "content-encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip")))
    with pytest.raises(CivitaiUnreachable):
        asked.client.models([])


def test_more_than_anybody_needs_is_not_read() -> None:
    read: list[int] = []

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                read.append(1 << 20)
                yield b" " * (1 << 20)

    asked = Asked(lambda request: httpx.Response(200, headers=JSON, stream=Endless()))
    with pytest.raises(CivitaiUnclear, match="larger"):
        asked.client.models([])
    assert sum(read) <= LARGEST + (2 << 20)


@pytest.mark.parametrize(
    ("body", "says"),
    [({"error": "plain words"}, "plain words"), ({"message": "User not found"}, "User not found"), ({"error": {"name": "ZodError", "message": "[]"}}, "400"),
     ([{"code": "x"}], "400"), ("text", "400"), (None, "400"), ({"error": "✖ Invalid\n  → at id"}, "✖ Invalid → at id"), ({"error": "\x1b[31mred"}, "red")],
)  # fmt: skip
def test_an_error_says_what_its_body_says_in_one_line(body: Any, says: str) -> None:
    with pytest.raises(CivitaiUnclear) as raised:
        Asked(reply(400, body)).client.models([])
    assert says in raised.value.says
    assert "\n" not in raised.value.says
    assert "\x1b" not in raised.value.says


# redirects and the token


def moved(place: str, status: int = 307) -> httpx.Response:
    return httpx.Response(status, headers={"location": place})


def test_the_token_goes_by_header_and_never_in_an_address() -> None:
    asked = Asked(LIST)
    asked.client.models([("query", "ink")])
    (request,) = asked.requests
    assert request.headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(request.url)


def test_our_name_is_our_own() -> None:
    asked = Asked(LIST)
    asked.client.models([])
    agent = asked.requests[0].headers["user-agent"]
    assert agent.startswith("embconv/")
    assert not any(word in agent.lower() for word in ("mozilla", "chrome", "safari", "firefox", "opera", "edge", "python"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "place",
    ["https://evil.example/x", "https://civitai.com:8443/x", "https://www.civitai.com/x", "https://civitai.com.evil.example/x", "//evil.example/x", "https://civitai.red/x"],
)
def test_no_other_origin_sees_the_token(place: str, status: int) -> None:
    asked = Asked(moved(place, status), LIST)
    asked.client.models([])
    first, second = asked.requests
    assert "authorization" in first.headers
    assert second.url.host != "civitai.com" or second.url.port == 8443
    assert not {"authorization", "cookie", "x-api-key"} & set(second.headers)
    assert "s3cret" not in str(second.url)


def test_a_redirect_within_the_api_keeps_the_token() -> None:
    asked = Asked(moved("/api/v1/other"), LIST)
    asked.client.models([])
    assert [request.headers["authorization"] for request in asked.requests] == ["Bearer s3cret"] * 2


@pytest.mark.parametrize("place", ["http://civitai.com/x", "ftp://civitai.com/", "file:///etc/passwd", "https://user:pw@civitai.com/"])
def test_a_redirect_out_of_https_is_refused(place: str) -> None:
    asked = Asked(moved(place), LIST)
    with pytest.raises(AddressRefused) as raised:
        asked.client.models([])
    assert len(asked.requests) == 1
    assert "pw" not in str(raised.value)


def test_redirects_without_an_end_are_left() -> None:
    asked = Asked(moved("https://civitai.com/again"))
    with pytest.raises(CivitaiUnclear, match="without an end"):
        asked.client.models([])
    assert len(asked.requests) == asking.HOPS


def test_no_cookie_is_kept() -> None:
    asked = Asked(reply(200, {"items": []}, Set_Cookie="session=1; Path=/"), LIST)
    asked.client.models([])
    asked.client.models([])
    assert "cookie" not in asked.requests[1].headers


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_not_known_is_said(status: int) -> None:
    with pytest.raises(BadToken) as raised:
        Asked(reply(status, {"error": "Unauthorized"})).client.check_token()
    assert "s3cret" not in str(raised.value)
    assert "EMBCONV_CIVITAI_TOKEN" in raised.value.hint


def test_a_challenge_says_nothing_of_a_token() -> None:
    with pytest.raises(CivitaiUnclear, match="403"):
        Asked(page(403)).client.check_token()


def test_without_a_token_none_is_asked_about() -> None:
    asked = Asked(LIST, token=None)
    asked.client.check_token()
    assert asked.requests == []


ENDS = (reply(400, {"error": "s"}), reply(429), reply(451), page(200), page(503), page(403), reply(200, b"{"), moved("ftp://x/"), httpx.ReadTimeout("t"),
        httpx.RemoteProtocolError("Illegal header value b'x'"))  # fmt: skip


@pytest.mark.parametrize("answer", ENDS, ids=range(len(ENDS)))
def test_no_error_repeats_the_token(answer: Any) -> None:
    with pytest.raises(RegistryError) as raised:
        Asked(answer).client.models([])
    text, error = "", raised.value
    while error is not None:
        text += f"{error!r} {error} {getattr(error, 'hint', '')}"
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    assert "s3cret" not in text


# all together, against the fake


@pytest.fixture(scope="module")
def fake() -> Iterator[Fake]:
    with serve(generate(4, files=4, oddities=False)) as running:
        running.faults.tokens["v3ry-s3cret-t0ken"] = Account()
        yield running


@pytest.fixture(scope="module")
def other() -> Iterator[Trap]:
    with trap() as found:
        yield found


def test_a_token_stands_in_no_log_no_report_and_no_database(fake: Fake, home: str, caplog: pytest.LogCaptureFixture, other: Trap) -> None:
    caplog.set_level(logging.DEBUG)
    token = "v3ry-s3cret-t0ken"
    for fault in ({}, {"download_500": True}, {"storage_html_200": True}, {"redirect_to": f"{other.url}/x?a=1"}, {"error_500": True}):
        for name, value in fault.items():
            setattr(fake.faults, name, value)
        report = run(home, fake, token=token)
        tokens = fake.faults.tokens
        calm(fake.faults)
        fake.faults.tokens = tokens
        assert token not in repr(report)
    assert fake.log.with_token("api")
    check_token_stays_home(fake)
    assert token not in caplog.text
    assert token not in str(other.seen)
    for path in Path(home).rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


def test_a_signed_address_stands_in_no_log_of_ours_and_no_database(fake: Fake, home: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fake.faults.storage_500 = True
    report = run(home, fake)
    calm(fake.faults)
    assert report.failed
    assert "X-Amz" not in caplog.text + repr(report)
    for path in Path(home).rglob("*"):
        assert not path.is_file() or b"X-Amz" not in path.read_bytes()


def test_a_wait_may_be_told_as_the_moment_of_its_end() -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    reply = Reply(429, "application/json", b"{}", httpx.Headers({"retry-after": when}))
    assert 25 < (wait_asked(reply) or 0) <= 30
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    assert wait_asked(Reply(429, "application/json", b"{}", httpx.Headers({"retry-after": past}))) == 0
