"""Bytes out: ranges, tags and names as headers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconv.registry import downloads
from embconv.registry.downloads import PIECE, Sending, disposition, etag, part, unchanged
from embconv.registry.problems import BadRange

TAG = etag("ab" * 32)
SIZE = 100
ALL = None
RANGES = {  # header -> what is sent of 100 bytes: (first, one after the last), ALL, or 416
    "bytes=0-0": (0, 1), "bytes=0-99": (0, 100), "bytes=0-100": (0, 100), "bytes=99-": (99, 100), "bytes=50-60": (50, 61),
    "bytes=-1": (99, 100), "bytes=-100": (0, 100), "bytes=-101": (0, 100), "bytes=0-": (0, 100), "BYTES=0-1": (0, 2),
    "bytes= 0-1 ": (0, 2), "bytes=00-01": (0, 2), "bytes=0-999999999999999999999999999999": (0, 100),
    "bytes=100-": 416, "bytes=100-200": 416, "bytes=2-1": 416, "bytes=-0": 416, "bytes=": 416, "bytes=-": 416, "bytes=a-b": 416,
    "bytes=1": 416, "bytes=--1": 416, "bytes=1--2": 416, "bytes=0x0-0x1": 416, "bytes=1.0-2": 416, "bytes=999999999999999999999999999999-": 416,
    "bytes": 416, "bytes=\u0660-\u0661": 416, "bytes 0-1": 416,
    "bytes=0-1,2-3": ALL, "bytes=0-1,": ALL, "bytes=,": ALL, "items=0-1": ALL, "": ALL, "none": ALL, "bytes=" + "0-1," * 2000: ALL,
    "bytes=" + "9" * 5000 + "-": ALL,
}  # fmt: skip


@pytest.mark.parametrize("asked", RANGES, ids=lambda text: f"{ascii(text)[:40]} {len(text)}")
def test_a_range(asked: str) -> None:
    headers = [(b"range", asked.encode("utf-8"))]
    if RANGES[asked] == 416:
        with pytest.raises(BadRange):
            part(headers, TAG, SIZE)
    else:
        assert part(headers, TAG, SIZE) == RANGES[asked]


@pytest.mark.parametrize(
    ("condition", "whole"),
    [(TAG, False), (b" " + TAG + b" ", False), (b"W/" + TAG, True), (b'"other"', True), (b"Thu, 26 Nov 2026 12:00:00 GMT", True), (b"", True)],
)
def test_a_part_of_something_else_is_the_whole(condition: bytes, whole: bool) -> None:
    assert (part([(b"range", b"bytes=0-1"), (b"if-range", condition)], TAG, SIZE) is None) is whole


@given(st.binary(max_size=64))
def test_any_range_is_within_the_file_or_refused(asked: bytes) -> None:
    for given_ in (asked, b"bytes=" + asked):
        try:
            found = part([(b"range", given_)], TAG, SIZE)
        except BadRange:
            continue
        assert found is None or 0 <= found[0] < found[1] <= SIZE


def test_an_endless_range_costs_nothing() -> None:
    """Starlette's CVE-2025-62727: a header of 64 KB took quadratic time (threat H7)."""
    for asked in (b"bytes=" + b"0-0," * 16_000, b"bytes=" + b" " * 64_000, b"bytes=" + b"1" * 64_000, b"bytes=" + b"-" * 4_000):
        start = time.perf_counter()
        with contextlib.suppress(BadRange):
            part([(b"range", asked)], TAG, SIZE)
        assert time.perf_counter() - start < 0.005


class Caller:
    """Takes `most` messages of a body, then goes away, or takes nothing more."""

    def __init__(self, most: int, *, stays: bool = False) -> None:
        self.most, self.stays, self.body, self.gone = most, stays, b"", asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] != "http.response.body":
            return
        self.most -= 1
        if self.most < 0 and self.stays:
            await asyncio.Event().wait()
        if self.most < 0:
            self.gone.set()
            return
        self.body += message["body"]


def sending(data: bytes, caller: Caller, method: str = "GET") -> tuple[bytes, list[int], bool]:
    """What the caller got, what was counted, whether the file was closed."""
    counted: list[int] = []
    file = io.BytesIO(data)

    async def run() -> None:
        with ThreadPoolExecutor(1) as threads:
            await Sending(file, len(data), threads, status=200, headers=[], done=counted.append)({"method": method}, caller.receive, caller.send)

    try:
        asyncio.run(run())
    finally:
        assert file.closed
    return caller.body, counted, file.closed


def test_a_file_is_sent_whole() -> None:
    data = bytes(range(256)) * 4096
    assert sending(data, Caller(100)) == (data, [len(data)], True)


def test_nothing_is_read_for_a_caller_who_left() -> None:
    body, (counted,), _ = sending(bytes(40 * PIECE), Caller(3))
    assert (len(body), counted <= 6 * PIECE) == (3 * PIECE, True)


def test_a_caller_who_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threat H12: slow clients hold nothing for ever."""
    monkeypatch.setattr(downloads, "STALLED", 0.1)
    with pytest.raises(TimeoutError):
        sending(bytes(40 * PIECE), Caller(3, stays=True))


def test_a_head_sends_nothing() -> None:
    assert sending(bytes(3 * PIECE), Caller(9), "HEAD") == (b"", [0], True)


@pytest.mark.parametrize(
    ("given_", "same"),
    [(TAG, True), (b"W/" + TAG, True), (b'"x", ' + TAG, True), (b"*", True), (b" * ", True), (b'"x"', False), (b"", False), (TAG[1:-1], False),
     (b'"x",,,' + TAG + b",", True), (b"W/*", False), (TAG * 100, False)],
)  # fmt: skip
def test_what_the_caller_has_already(given_: bytes, same: bool) -> None:
    assert unchanged([(b"if-none-match", given_)], TAG) is same


def test_a_header_that_comes_twice_counts_as_none() -> None:
    assert unchanged([(b"if-none-match", TAG), (b"if-none-match", TAG)], TAG) is False
    assert part([(b"range", b"bytes=0-1"), (b"range", b"bytes=2-3")], TAG, SIZE) is None


NAMES = ["easynegative.pt", "a b.pt", 'a"b.pt', "a\\b.pt", "ünï.pt", "猫.pt", "a\r\nX: 1.pt", "a\0b.pt", "100%.pt", "\u202egnp.pt", "a;b=c.pt", "'.pt",
         "\udcff.pt", "", "a" * 300]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_read_back_by_a_parser_we_did_not_write(name: str) -> None:
    header, value = disposition(name)
    message = Message()
    message["Content-Disposition"] = value.decode("ascii")
    assert header == b"content-disposition"
    assert message.get_content_disposition() == "attachment"
    plain, full = re.fullmatch(r"attachment; filename=\"([^\"\\]*)\"; filename\*=UTF-8''(\S*)", value.decode("ascii")).groups()  # type: ignore[union-attr]
    assert unquote(full, errors="strict") == "".join(c if c.isprintable() else "_" for c in name.encode("utf-8", "replace").decode())
    if name.isascii() and name.isprintable() and not set('"\\%') & set(name):
        assert plain == name


@given(st.text(max_size=50))
def test_no_name_ends_the_header(name: str) -> None:
    _, value = disposition(name)
    assert re.fullmatch(rb"[\x20-\x7e]+", value)
    assert value.count(b'"') == 2
