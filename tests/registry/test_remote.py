"""The same operations through HTTP: what is sent, what comes back, and every way in which a server can fail us."""

from __future__ import annotations

import inspect
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from stored import a1111

from embconv.converters import EmbconvError, errors
from embconv.registry import errors as registry_errors
from embconv.registry.errors import AmbiguousReference, BadParameter, Gone, KeyNeeded, RemoteError, Unreachable
from embconv.registry.local import Local
from embconv.registry.model import Addition
from embconv.registry.problems import STATUS, body_of, problem
from embconv.registry.registry import Registry
from embconv.registry.remote import Remote
from embconv.registry.replies import classes

Answer = Callable[[httpx.Request], httpx.Response]
URL = "http://registry.test"


def remote(answer: Answer, key: str | None = None) -> Remote:
    return Remote(URL, key, transport=httpx.MockTransport(answer))


def always(status: int, content: bytes = b"", **headers: str) -> Answer:
    return lambda request: httpx.Response(status, content=content, headers=headers)


def refusing(error: EmbconvError, status: int = 400) -> Answer:
    return always(status, body_of(problem(error, "/v1/x", "1")))


def add(found: Remote, *paths: Path) -> list[Addition]:
    return found.add([os.fspath(path) for path in paths], done=lambda each: None, name=None, role=None, tags=())


ENTRY = {"digest": "emb:" + "ab" * 32, "name": "x", "trigger": "x", "base": "sd1", "encoders": {}, "vectors": 1, "role": "unknown", "added": "t",
         "changed": "t", "files": []}  # fmt: skip
FILE = {"sha256": "cd" * 32, "name": "x.pt", "size": 1, "container": "torch_zip", "layout": "a1111", "added": "t", "hashes": {}}
TAKEN = json.dumps({"status": "added", "embeddings": [ENTRY], "file": FILE}).encode()


def test_both_are_registries() -> None:
    for name, method in inspect.getmembers(Registry, inspect.isfunction):
        if not name.startswith("_"):
            for each in (Local, Remote):
                assert list(inspect.signature(getattr(each, name)).parameters) == list(inspect.signature(method).parameters), (each, name)


# what is sent


def test_the_key_is_sent_and_never_with_the_url() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b'{"items": [], "total": 0}')

    remote(answer, "embconv_secret").search([("q", "a b"), ("base", "sd1"), ("base", "sdxl")])
    assert seen[0].headers["authorization"] == "Bearer embconv_secret"
    assert str(seen[0].url) == f"{URL}/v1/embeddings?q=a+b&base=sd1&base=sdxl" or "q=a%20b" in str(seen[0].url)
    remote(answer).search([])
    assert "authorization" not in seen[1].headers


def test_a_redirect_is_not_followed_so_that_the_key_goes_nowhere_else() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://elsewhere.test/v1/embeddings"})

    with pytest.raises(RemoteError, match="elsewhere"):
        remote(answer, "embconv_secret").search([])
    assert asked == ["registry.test"]


@pytest.mark.parametrize("ref", ["a/b", "../../health", "a?b#c", "名前", "%2e%2e", "emb:00ff"])
def test_a_reference_is_one_part_of_the_path(ref: str) -> None:
    seen: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, content=b"{}")

    remote(answer).document(ref)
    assert seen[0].raw_path.decode().count("/") == 3
    assert seen[0].path == f"/v1/embeddings/{ref}"


def test_an_upload_has_the_file_and_what_was_said(tmp_path: Path) -> None:
    path, bodies = tmp_path / "x.pt", list[bytes]()
    path.write_bytes(a1111(1))
    (tmp_path / "x.json").write_text(json.dumps({"activation text": "word", "sd version": "SD1"}))

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(201, content=TAKEN)

    found = remote(answer).add([os.fspath(path)], done=lambda each: None, name="N", role="negative", tags=("a", "b c"))
    assert found == [Addition(path=os.fspath(path), status="added", digests=(str(ENTRY["digest"]),), triggers=("x",), sha256="cd" * 32)]
    for piece in (a1111(1), b'name="file"; filename="x.pt"', b"negative", b"a,b c", b'"source":"sidecar"', b'"trigger":"word"'):
        assert piece in bodies[0]


def test_many_uploads_are_told_in_the_order_of_the_paths(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n:02}.pt" for n in range(30)]
    for path in paths:
        path.write_bytes(a1111(1))
    assert [each.path for each in add(remote(always(201, TAKEN)), *paths)] == [os.fspath(path) for path in paths]


def test_a_large_file_that_is_no_embedding_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "large.pt").write_bytes(b"x" * (2 << 20))
    (found,) = add(remote(always(500)), tmp_path / "large.pt")
    assert (found.status, found.error is not None) == ("refused", True)


# what goes wrong


KINDS = sorted({kind for kind in STATUS if "code" in vars(kind) and kind is not EmbconvError}, key=lambda kind: (kind.code, kind.__name__))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_here_what_it_was_there(kind: type[EmbconvError]) -> None:
    made = kind.__new__(kind)
    EmbconvError.__init__(made, "It says so.", "Do that.")
    for name in ("digests", "names", "when", "why", "blocked", "limit", "size", "allowed"):
        setattr(made, name, {"digests": ["emb:1"], "names": ["a"], "blocked": True, "limit": 7, "size": 7}.get(name, "then"))
    with pytest.raises(EmbconvError) as raised:
        remote(refusing(made, STATUS[kind])).keys()
    assert (raised.value.code, raised.value.says, raised.value.hint) == (kind.code, "It says so.", "Do that.")
    assert type(raised.value).__name__ == next(each for each in classes(EmbconvError) if vars(each).get("code") == kind.code).__name__


def test_what_an_error_knows_comes_along() -> None:
    with pytest.raises(AmbiguousReference) as several:
        remote(refusing(AmbiguousReference("x", ["emb:1", "emb:2"]), 409)).document("x")
    assert several.value.digests == ["emb:1", "emb:2"]
    with pytest.raises(Gone) as gone:
        remote(refusing(Gone("x", "2026-01-01", "a copy", blocked=True), 410)).document("x")
    assert (gone.value.when, gone.value.why, gone.value.blocked) == ("2026-01-01", "a copy", True)


def test_a_code_of_a_later_version_stays_what_it_is() -> None:
    with pytest.raises(RemoteError) as raised:
        remote(always(400, b'{"code": "brand_new", "says": "New.", "hint": ""}')).keys()
    assert (raised.value.code, raised.value.says) == ("brand_new", "New.")


STRANGERS = {
    "not found": always(404, b"<html>nginx</html>"),
    "bad gateway": always(502),
    "a page": always(200, b"<html>hello</html>"),
    "other JSON": always(200, b'{"items": 3}'),
    "nothing": always(200, b""),
    "deep": always(403, b"[" * 100_000),
    "no text": always(500, b"\xff\xfe"),
    "redirect": always(301, b"", location="https://else.test/x"),
}


@pytest.mark.parametrize("answer", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_not_taken_for_a_registry(answer: Answer) -> None:
    with pytest.raises(RemoteError) as raised:
        remote(answer).search([])
    assert raised.value.code == "remote_error"
    assert raised.value.says.isprintable()


@pytest.mark.parametrize(
    "trouble", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"), httpx.ReadError("")], ids=lambda exc: type(exc).__name__
)
def test_what_does_not_answer_is_unreachable(trouble: httpx.HTTPError, tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise trouble

    with pytest.raises(Unreachable):
        remote(answer).document("x")
    (tmp_path / "x.pt").write_bytes(a1111(1))
    with pytest.raises(Unreachable):
        add(remote(answer), *[tmp_path / "x.pt"] * 20)


def test_without_a_key_the_first_file_stops_the_rest(tmp_path: Path) -> None:
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return refusing(KeyNeeded(), 401)(request)

    (tmp_path / "x.pt").write_bytes(a1111(1))
    with pytest.raises(KeyNeeded):
        add(remote(answer), *[tmp_path / "x.pt"] * 100)
    assert asked <= 16


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        bad = b"bad.pt" in request.read()
        return refusing(errors.NotAnEmbedding("bad.pt", "a LoRA"), 422)(request) if bad else httpx.Response(200, content=TAKEN)

    paths = [tmp_path / name for name in ("a.pt", "bad.pt", "c.pt")]
    for path in paths:
        path.write_bytes(a1111(1))
    found = add(remote(answer), *paths, tmp_path / "missing.pt")
    assert [each.status for each in found] == ["added", "refused", "added", "refused"]
    assert found[1].error is not None
    assert found[1].error.code == "not_an_embedding"


@pytest.mark.parametrize("code", ["storage_full", "busy"])
def test_a_disk_that_is_full_there_is_a_failure_not_a_refusal(code: str, tmp_path: Path) -> None:
    kind = {"storage_full": registry_errors.StorageFull, "busy": registry_errors.Busy}[code]
    (tmp_path / "x.pt").write_bytes(a1111(1))
    (found,) = add(remote(refusing(kind(), 507)), tmp_path / "x.pt")
    assert found.status == "failed"


@pytest.mark.parametrize("url", ["registry", "ftp://x", "http://", "http://key@host", "http://host/?key=1", "http://host#x", "", "file:///x"])
def test_what_is_no_address_of_a_registry(url: str) -> None:
    with pytest.raises(BadParameter):
        Remote(url)


def test_an_address_may_have_a_path_before_v1() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, content=b'{"keys": []}')

    Remote("http://host/embs/", transport=httpx.MockTransport(answer)).keys()
    assert asked == ["/embs/v1/keys"]


# a backup


def packed(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 100)
    return out.getvalue()


def test_a_backup_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    whole = packed("registry.db", "blobs/sha256/ab/cd")
    made = remote(always(200, whole)).backup(os.fspath(tmp_path / "good.zip"))
    assert (made.files, made.size) == (1, len(whole))
    for content in (whole[:-10], packed("other.txt"), whole.replace(b"x" * 100, b"x" * 50 + b"y" * 50), b""):
        with pytest.raises(errors.NotEqual):
            remote(always(200, content)).backup(os.fspath(tmp_path / "bad.zip"))
    with pytest.raises(KeyNeeded):
        remote(refusing(KeyNeeded(), 401)).backup(os.fspath(tmp_path / "bad.zip"))
    assert [path.name for path in tmp_path.iterdir()] == ["good.zip"]
    with pytest.raises(errors.TargetExists):
        remote(always(200, whole)).backup(os.fspath(tmp_path / "good.zip"))
