"""Bodies that contradict themselves: each its exact status, none a 5xx, nothing left behind (threats H1 to H3, H12)."""

from __future__ import annotations

import os
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace
from stored import a1111

from embconv.registry.app import create_app
from embconv.registry.settings import Settings

Client = TestClient[Litestar]
TYPE = "multipart/form-data; boundary=line"


def part(name: str, data: bytes, *, file: str | None = None, more: str = "") -> bytes:
    filename = f'; filename="{file}"' if file is not None else ""
    return f'--line\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n{more}\r\n'.encode() + data + b"\r\n"


FILE = part("file", a1111(1), file="style.pt")
END = b"--line--\r\n"
BODIES: dict[str, tuple[bytes, str, int, str]] = {
    "all is well": (FILE + END, TYPE, 201, ""),
    "no multipart": (b"{}", "application/json", 415, "not_multipart"),
    "a form of the other kind": (b"file=x", "application/x-www-form-urlencoded", 415, "not_multipart"),
    "no type": (FILE + END, "", 415, "not_multipart"),
    "no boundary": (FILE + END, "multipart/form-data", 400, "bad_upload"),
    "another boundary": (FILE + END, "multipart/form-data; boundary=other", 400, "bad_upload"),
    "an endless boundary": (FILE + END, "multipart/form-data; boundary=" + "x" * 500, 400, "bad_upload"),
    "nothing": (b"", TYPE, 400, "bad_upload"),
    "no file": (part("role", b"negative") + END, TYPE, 400, "bad_upload"),
    "two files": (FILE + FILE + END, TYPE, 400, "bad_upload"),
    "cut short": (FILE[:-50], TYPE, 400, "bad_upload"),
    "no end": (FILE, TYPE, 400, "bad_upload"),
    "an unknown field": (part("rolle", b"x") + FILE + END, TYPE, 400, "unknown_parameter"),
    "no UTF-8": (part("role", b"\xff\xfe") + FILE + END, TYPE, 400, "bad_upload"),
    "an unknown charset": (part("role", b"x", more="Content-Type: text/plain; charset=nosuch\r\n") + FILE + END, TYPE, 400, "bad_upload"),
    "a file that has no name": (part("file", a1111(1)) + END, TYPE, 400, "bad_upload"),
    "a large field": (part("name", b"x" * 70_000) + FILE + END, TYPE, 413, "body_too_large"),
    "many parts": (b"".join(part("tag", b"x") for _ in range(20)) + FILE + END, TYPE, 400, "bad_upload"),
    "a role that is none": (part("role", b"evil") + FILE + END, TYPE, 400, "bad_parameter"),
    "an origin that is no JSON": (part("origin", b"{") + FILE + END, TYPE, 400, "bad_upload"),
    "an empty file": (part("file", b"", file="a.pt") + END, TYPE, 422, "not_an_embedding"),
}


def left(home: str) -> list[str]:
    """Temporary files."""
    folder = os.path.join(home, "blobs", "tmp")
    return os.listdir(folder) if os.path.isdir(folder) else []


@pytest.mark.parametrize("case", BODIES)
def test_a_body_is_answered_exactly(client: Client, home: str, case: str) -> None:
    body, kind, status, code = BODIES[case]
    answer = client.post("/v1/embeddings", content=body, headers={"content-type": kind} if kind else {})
    assert (answer.status_code, answer.json().get("code", "")) == (status, code), answer.text
    assert left(home) == []


def test_what_says_it_is_too_large_is_not_read(settings: Settings, home: str) -> None:
    with TestClient(create_app(replace(settings, max_upload=10_000)), base_url="http://127.0.0.1:8765") as client:
        answer = client.post("/v1/embeddings", files={"file": ("a.pt", b"x" * 3_000_000)})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert left(home) == []


def test_what_turns_out_too_large_is_not_kept(settings: Settings, home: str) -> None:
    def body() -> Any:
        yield part("file", b"", file="a.pt").removesuffix(b"\r\n")
        for _ in range(40):
            yield b"x" * 100_000

    with TestClient(create_app(replace(settings, max_upload=10_000)), base_url="http://127.0.0.1:8765") as client:
        answer = client.post("/v1/embeddings", content=body(), headers={"content-type": TYPE})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert left(home) == []


@pytest.mark.parametrize("path", ["/v1/inspect", "/v1/convert"])
def test_what_is_only_looked_at_is_not_kept(client: Client, home: str, path: str) -> None:
    answer = client.post(path, files={"file": ("style.pt", a1111(1))})
    assert answer.status_code == 200
    assert client.post(path, files={"file": ("style.pt", b"<html>")}).status_code == 422
    assert client.get("/v1/embeddings").json()["total"] == 0
    assert client.get("/v1/refusals").json()["items"] == []
    assert left(home) == []
