"""Test renders over HTTP: asked for, watched, shown; a worker beside the server does them, and the server never imports torch."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import judged
import msgspec
import pytest
from litestar.testing import TestClient

from embconv.registry.app import create_app
from embconv.registry.blobs import Blobs
from embconv.registry.keys import create
from embconv.registry.model import Entry
from embconv.registry.remote import Remote
from embconv.registry.render_errors import UnknownRender, UnknownValidation
from embconv.registry.settings import Settings
from embconv.registry.store import Store
from embconv.registry.store.leases import groups, lease
from embconv.registry.times import now
from embconv.registry.validation.worker import run
from embconv.registry.validations import KIND, Validation, Wanted, pending
from embconv.registry.verdicts import KeptVerdict

if TYPE_CHECKING:
    from litestar import Litestar

    Client = TestClient[Litestar]

EMBCONV = Path(sys.executable).with_name("embconv")


@pytest.fixture
def filled(home: str) -> list[str]:
    """A registry with a checkpoint and two embeddings; their digests."""
    with Store(home) as store:
        judged.know(store, judged.checkpoint())
        return judged.fill(store, Blobs(home), "a", "broken b")


def work(home: str) -> None:
    """What a worker does."""
    assert run(home, judged.Fakes, once=True, say=lambda text: None) == 0


def done(client: Client, home: str, ref: str = "a", **wanted: Any) -> dict[str, Any]:
    """The answer, after a worker has found it."""
    client.post(f"/v1/embeddings/{ref}/validations", json=wanted)
    work(home)
    answer = client.post(f"/v1/embeddings/{ref}/validations", json=wanted)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_a_question_is_taken_down_once_and_answered_once(client: Client, filled: list[str], home: str) -> None:
    asked = client.post("/v1/embeddings/a/validations")
    assert asked.status_code == 202
    assert (asked.json()["state"], asked.json()["digest"], asked.json()["checkpoint"]["name"]) == ("waiting", filled[0], "fifteen")
    assert asked.headers["location"].endswith(f"/v1/validations/{asked.json()['id']}")
    assert client.post(f"/v1/embeddings/{filled[0]}/validations", json={"profile": "standard"}).json() == asked.json()
    work(home)
    ended = client.get(f"/v1/validations/{asked.json()['id']}").json()
    assert (ended["state"], ended["attempt"], ended["verdict"]["verdict"]["state"], ended["failed"]) == ("done", 1, "pass", None)
    again = client.post("/v1/embeddings/a/validations", json={})
    assert (again.status_code, again.json()) == (200, ended["verdict"])


def test_the_verdict_shows_everywhere(client: Client, filled: list[str], home: str) -> None:
    client.post("/v1/embeddings/a/validations")
    done(client, home, "broken b")
    assert client.get("/v1/embeddings/a").json()["verdict"] == "pass"
    found = client.get("/v1/embeddings", params={"verdict": "broken", "facet": "verdict"}).json()
    assert [each["name"] for each in found["items"]] == ["broken b"]
    assert found["facets"]["verdict"]["results"][0]["value"] == "broken"


def test_renders_are_listed_and_sent(client: Client, filled: list[str], home: str) -> None:
    assert client.get("/v1/embeddings/a/renders").json() == {"items": [], "total": 0, "next": None}
    first, second = done(client, home), done(client, home, sheets=["strength"])
    assert client.get("/v1/embeddings/a/renders").json()["items"] == [second, first]
    render = first["renders"][1]
    assert (render["cell"]["kind"], render["cell"]["infotext"], render["size"]) == ("test", "a photo", len(judged.webp(f"{filled[0]} ")))
    answer = client.get(f"/v1/renders/{render['id']}")
    assert answer.content == judged.webp(f"{filled[0]} ")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["etag"] == f'"sha256:{render["id"]}"'
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get(f"/v1/renders/{render['id'].upper()}").content == answer.content
    assert client.head(f"/v1/renders/{render['id']}").headers["content-length"] == str(len(answer.content))
    assert client.get(f"/v1/renders/{render['id']}", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    part = client.get(f"/v1/renders/{render['id']}", headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"RIFF", f"bytes 0-3/{len(answer.content)}")
    assert client.get(f"/v1/renders/{render['id']}", headers={"range": "bytes=9999-"}).status_code == 416


def test_renders_come_in_pages_that_lead_on(client: Client, filled: list[str], home: str) -> None:
    made = [done(client, home, profile=profile, sheets=sheets) for profile in ("standard", "quick") for sheets in ([], ["strength"])]
    answer = client.get("/v1/embeddings/a/renders", params={"limit": "3"})
    first = answer.json()
    assert (first["items"], first["total"]) == (made[:0:-1], 4)
    assert answer.headers["link"] == f'<{first["next"]}>; rel="next"'
    assert client.get(first["next"]).json() == {"items": made[:1], "total": 4, "next": None}
    assert "link" not in client.get("/v1/embeddings/a/renders", params={"limit": "4"}).headers
    again = done(client, home, profile="quick", sheets=["prompts"])  # what comes meanwhile does not shift the next page
    assert client.get(first["next"]).json()["items"] == made[:1]
    assert client.get("/v1/embeddings/a/renders").json()["items"][0] == again


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=", "cursor=W10", "limit=1&limit=2"])
def test_a_page_of_renders_that_means_nothing_is_refused(client: Client, filled: list[str], query: str) -> None:
    answer = client.get(f"/v1/embeddings/a/renders?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")


def test_a_cursor_is_of_one_embedding(client: Client, filled: list[str], home: str) -> None:
    done(client, home), done(client, home, profile="quick")
    cursor = client.get("/v1/embeddings/a/renders", params={"limit": "1"}).json()["next"].partition("cursor=")[2]
    assert client.get(f"/v1/embeddings/{filled[0]}/renders", params={"cursor": cursor}).status_code == 200
    assert client.get(f"/v1/embeddings/{filled[1]}/renders", params={"cursor": cursor}).json()["code"] == "bad_parameter"


def test_a_queue_that_is_full_takes_no_more_but_tells_of_what_it_has(client: Client, filled: list[str], home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embconv.registry.validations.WAITING", 2)
    asked = [client.post("/v1/embeddings/a/validations", json={"profile": profile}) for profile in ("standard", "quick", "probe")]
    assert [answer.status_code for answer in asked] == [202, 202, 503]
    assert (asked[2].json()["code"], asked[2].headers["retry-after"]) == ("too_many_waiting", "60")
    assert client.post("/v1/embeddings/a/validations").json() == asked[0].json()
    with Store(home) as store:
        assert [len(pending(store, Wanted())), len(pending(store, Wanted(profile="probe")))] == [2, 2]  # its operator may
    work(home)
    assert client.post("/v1/embeddings/a/validations", json={"profile": "probe"}).status_code == 200


def test_what_was_removed_is_gone(client: Client, filled: list[str], home: str) -> None:
    render, number = done(client, home)["renders"][1], client.post("/v1/embeddings/broken b/validations").json()["id"]
    for digest in filled:
        client.delete(f"/v1/embeddings/{digest}")
    assert client.get("/v1/embeddings/a/renders").json()["code"] == "gone"
    assert client.post("/v1/embeddings/a/validations").status_code == 410
    assert (client.get(f"/v1/renders/{render['id']}").status_code, client.get(f"/v1/renders/{render['id']}").json()["code"]) == (404, "unknown_render")
    work(home)
    ended = client.get(f"/v1/validations/{number}").json()
    assert (ended["state"], ended["failed"]["code"], ended["verdict"]) == ("failed", "gone", None)


def test_bytes_of_files_are_no_renders(client: Client, filled: list[str]) -> None:
    file = client.get("/v1/embeddings/a").json()["files"][0]["sha256"]
    assert client.get(f"/v1/renders/{file}").json()["code"] == "unknown_render"
    assert client.get("/v1/renders/abc").json()["code"] == "unknown_render"


@pytest.mark.parametrize(
    ("ref", "body", "status", "code"),
    [("nobody", {}, 404, "unknown_reference"), ("a", {"checkpoint": "fiften"}, 422, "unknown_checkpoint"), ("a", {"profile": "fast"}, 400, "bad_parameter"),
     ("a", {"sheets": ["colours"]}, 400, "bad_parameter"), ("a", {"prompts": ["no place"]}, 400, "bad_parameter"), ("a", {"sheets": "strength"}, 400, "bad_request"),
     ("a", {"size": 9}, 400, "unknown_parameter"), ("a", [], 400, "bad_request")],
)  # fmt: skip
def test_a_question_without_a_meaning_is_refused(client: Client, filled: list[str], ref: str, body: Any, status: int, code: str) -> None:
    answer = client.post(f"/v1/embeddings/{ref}/validations", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_may_be_left_out_but_has_to_be_json(client: Client, filled: list[str]) -> None:
    assert client.post("/v1/embeddings/a/validations").status_code == 202
    assert client.post("/v1/embeddings/a/validations", content=b"{}").json()["code"] == "not_json"
    assert client.post("/v1/embeddings/a/validations", data={"profile": "quick"}).json()["code"] == "not_json"


def test_without_a_checkpoint_nothing_can_be_asked_for(client: Client, upload: Callable[..., Any]) -> None:
    upload()
    answer = client.post("/v1/embeddings/style/validations")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_checkpoint")


@pytest.mark.parametrize("number", ["7", "x", "0", "99999999999999999999"])
def test_a_number_that_none_has_is_unknown(client: Client, number: str) -> None:
    for path in (f"/v1/validations/{number}", f"/v1/validations/{number}/events"):
        assert client.get(path).json()["code"] == "unknown_validation"


def test_asking_needs_a_key_elsewhere_and_looking_only_where_it_is_private(home: str, filled: list[str]) -> None:
    with Store(home) as store:
        key = create(store, "reader", "read")
    for private, status in ((False, 200), (True, 401)):
        settings = Settings(home=home, host="0.0.0.0", private=private, log_level="error")
        with TestClient(create_app(settings), base_url="http://127.0.0.1:8765", raise_server_exceptions=False) as client:
            assert client.post("/v1/embeddings/a/validations").status_code == 401
            assert client.post("/v1/embeddings/a/validations", headers={"authorization": f"Bearer {key}"}).status_code == 403
            assert client.get("/v1/embeddings/a/renders").status_code == status
            for path in (f"/v1/renders/{'0' * 64}", "/v1/validations/1", "/v1/validations/1/events"):
                assert client.get(path).status_code == (404 if status == 200 else 401)
                assert client.get(path, headers={"authorization": f"Bearer {key}"}).status_code == 404


def test_a_validation_that_has_ended_has_one_event(client: Client, filled: list[str], home: str) -> None:
    number = client.post("/v1/embeddings/a/validations").json()["id"]
    work(home)
    answer = client.get(f"/v1/validations/{number}/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    kind, data = answer.text.strip().split("\n")
    assert kind == "event: end"
    assert json.loads(data.removeprefix("data: ")) == client.get(f"/v1/validations/{number}").json()
    assert client.head(f"/v1/validations/{number}/events").content == b""


# through the client of the command line


def test_a_remote_registry_is_asked_the_same_way(client: Client, filled: list[str], home: str) -> None:
    remote = Remote("http://127.0.0.1:8765")
    remote.client = client
    asked = remote.ask_validation("a", Wanted(sheets=("strength",)))
    assert isinstance(asked, Validation)
    assert remote.validation(asked.id) == asked
    work(home)
    ended = remote.validation(asked.id)
    assert ended.state == "done"
    verdict = remote.ask_validation("a", Wanted(sheets=("strength",)))
    assert isinstance(verdict, KeptVerdict)
    assert verdict == ended.verdict
    assert remote.render(verdict.renders[1].id) == judged.webp(f"{filled[0]} ")
    assert remote.preview(msgspec.json.decode(remote.document("a"), type=Entry)) == judged.webp(f"{filled[0]} ")
    assert remote.preview(msgspec.json.decode(remote.document("broken b"), type=Entry)) is None
    with pytest.raises(UnknownRender):
        remote.render("0" * 64)
    with pytest.raises(UnknownValidation):
        remote.validation(99)


# a server and a worker, each in a process of its own

SERVE = """
import atexit, json, sys
atexit.register(lambda: open(sys.argv.pop(), "w").write(json.dumps(sorted({name.partition(".")[0] for name in sys.modules}))))
from embconv.cli.main import cli
cli()
"""


@pytest.fixture
def served(home: str, tmp_path: Path, filled: list[str]) -> Iterator[tuple[str, Callable[[], set[str]]]]:
    """A server's URL; and what ends it and tells which modules it had imported."""
    found = tmp_path / "modules"
    arguments = ["serve", "--home", home, "--port", "0", "--log-level", "error"]
    code = SERVE.replace("sys.argv.pop()", repr(str(found)))
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as server:
        assert server.stdout is not None

        def end() -> set[str]:
            server.terminate()
            server.wait(20)
            return set(json.loads(found.read_text()))

        try:
            yield server.stdout.readline().split()[-1], end
        finally:
            server.terminate()


def events(url: str, number: int, began: threading.Event) -> list[tuple[str, Any]]:
    """What is told of a validation until its end."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.request("GET", f"/v1/validations/{number}/events")
    answer, found, kind = connection.getresponse(), [], ""
    for line in iter(lambda: answer.readline().decode().strip("\n"), None):
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((kind, json.loads(line.removeprefix("data: "))))
            began.set()
            if kind == "end":
                break
    connection.close()
    return found


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a program could handle")
def test_a_worker_beside_the_server_answers_and_the_server_imports_no_torch(served: tuple[str, Callable[[], set[str]]], home: str, tmp_path: Path) -> None:
    url, end = served
    number = httpx.post(f"{url}/v1/embeddings/a/validations", json={"sheets": ["strength"]}).json()["id"]
    told: list[tuple[str, Any]] = []
    began = threading.Event()
    watcher = threading.Thread(target=lambda: told.extend(events(url, number, began)))
    watcher.start()
    assert began.wait(20)
    path = os.fspath(Path(judged.__file__).parent)
    worker = [sys.executable, judged.__file__, home, str(tmp_path / "log"), "1.2", "once"]
    subprocess.run(worker, check=True, timeout=60, env={**os.environ, "PYTHONPATH": path})
    watcher.join(20)
    assert [(kind, told_["state"]) for kind, told_ in told] == [("progress", "waiting"), ("progress", "running"), ("end", "done")]
    verdict = httpx.get(f"{url}/v1/embeddings/a/renders").json()["items"][0]
    assert told[-1][1]["verdict"] == verdict
    assert httpx.get(f"{url}/v1/renders/{verdict['renders'][1]['id']}").content.startswith(b"RIFF")
    assert httpx.get(f"{url}/v1/embeddings?verdict=pass").json()["total"] == 1
    modules = end()
    assert "litestar" in modules
    assert modules & {"torch", "diffusers", "transformers", "tokenizers", "safetensors"} == set()


def test_a_watcher_that_leaves_is_not_waited_for(served: tuple[str, Callable[[], set[str]]]) -> None:
    url, end = served
    number = httpx.post(f"{url}/v1/embeddings/a/validations").json()["id"]
    with httpx.stream("GET", f"{url}/v1/validations/{number}/events") as answer:
        assert next(answer.iter_text()).startswith("event: progress")
    began = time.monotonic()
    end()
    assert time.monotonic() - began < 10


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a program could handle")
def test_a_watcher_that_stays_does_not_hold_the_end_of_the_server_up(served: tuple[str, Callable[[], set[str]]]) -> None:
    url, end = served
    number = httpx.post(f"{url}/v1/embeddings/a/validations").json()["id"]
    began = threading.Event()
    watchers = [threading.Thread(target=leaving, args=(f"{url}/v1/validations/{number}/events", began)) for _ in range(3)]
    for each in watchers:
        each.start()
    assert began.wait(20)
    time.sleep(0.5)
    start = time.monotonic()
    end()
    assert time.monotonic() - start < 10
    for each in watchers:
        each.join(10)


def leaving(url: str, began: threading.Event) -> None:
    """Watch until the server ends."""
    with contextlib.suppress(httpx.HTTPError), httpx.stream("GET", url, timeout=60) as answer:
        for _ in answer.iter_text():
            began.set()


def test_leasing_needs_no_torch(home: str, filled: list[str]) -> None:
    code = ("import sys; from embconv.registry import validations; from embconv.registry.validation import hands, supervise, worker; from embconv.cli import worker;"
            "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))")  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"
    with Store(home) as store:
        assert store.write(lambda db: [lease(db, each, KIND, "w", 1, at=now(), until=now()) for each in groups(db, KIND)]) == []
