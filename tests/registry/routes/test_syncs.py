"""Syncs over HTTP: begun, watched, paused, resumed, cancelled, and on record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from fakes.civitai import Fake, generate, serve
from litestar.testing import TestClient

from embconv.registry.app import create_app
from embconv.registry.keys import create
from embconv.registry.settings import Settings
from embconv.registry.store import Store

if TYPE_CHECKING:
    from litestar import Litestar


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    with serve(generate(12, oddities=False)) as served:
        monkeypatch.setenv("EMBCONV_CIVITAI_URL", served.api_url)
        monkeypatch.setenv("EMBCONV_ALLOW_PRIVATE", "1")
        yield served


def until(ready: Callable[[], Any], seconds: float = 20) -> Any:
    """What it says once it says something."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def ended(client: TestClient[Litestar], number: int) -> dict[str, Any]:
    return until(lambda: (found := client.get(f"/v1/syncs/{number}").json())["report"] and found)


def test_a_sync_begins_runs_and_is_on_record(client: TestClient[Litestar], fake: Fake) -> None:
    begun = client.post("/v1/syncs", json={"rate": 0})
    assert begun.status_code == 202
    assert begun.headers["location"].endswith(f"/v1/syncs/{begun.json()['id']}")
    found = ended(client, begun.json()["id"])
    assert (found["state"], found["report"]["added"]) == ("done", len(fake.catalogue.files))
    assert found["options"]["rate"] == 0
    assert client.get("/v1/syncs").json()["items"][0] == found
    assert client.get("/v1/embeddings").json()["total"] == len(fake.catalogue.files)


def test_a_sync_is_watched_until_it_ends(client: TestClient[Litestar], fake: Fake) -> None:
    number = client.post("/v1/syncs", json={"rate": 0}).json()["id"]
    answer = client.get(f"/v1/syncs/{number}/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = [part.split("\n") for part in answer.text.strip().split("\n\n")]
    assert events[-1][0] == "event: end"
    assert json.loads(events[-1][1].removeprefix("data: "))["report"]["added"] == len(fake.catalogue.files)


def test_a_sync_is_paused_resumed_and_cancelled(client: TestClient[Litestar], fake: Fake) -> None:
    number = client.post("/v1/syncs", json={"rate": 20, "downloads": 1}).json()["id"]
    until(lambda: (client.get(f"/v1/syncs/{number}").json()["progress"] or {}).get("phase") == "fetching")
    assert client.post(f"/v1/syncs/{number}/pause").json()["state"] == "paused"
    time.sleep(0.3)
    still = fake.log.count("/api/download")
    time.sleep(0.3)
    assert fake.log.count("/api/download") == still
    assert client.post(f"/v1/syncs/{number}/resume").json()["state"] == "running"
    until(lambda: fake.log.count("/api/download") > still)
    client.post(f"/v1/syncs/{number}/cancel")
    found = ended(client, number)
    assert found["state"] == "stopped"
    assert client.post(f"/v1/syncs/{number}/pause").status_code == 404
    again = ended(client, client.post("/v1/syncs", json={"rate": 0}).json()["id"])
    assert again["state"] == "done"
    assert client.get("/v1/embeddings").json()["total"] == len(fake.catalogue.files)


def test_only_one_runs_at_a_time(client: TestClient[Litestar], fake: Fake) -> None:
    number = client.post("/v1/syncs", json={"rate": 5}).json()["id"]
    second = client.post("/v1/syncs", json={"rate": 0})
    assert (second.status_code, second.json()["code"]) == (409, "sync_runs")
    client.post(f"/v1/syncs/{number}/cancel")
    ended(client, number)


@pytest.mark.parametrize("body", [{"nsfw": "mild"}, {"source": "elsewhere"}, {"base": ["sd99"]}, {"since": "yesterday"}, {"rate": -1}, {"downloads": 0}])
def test_an_option_without_a_meaning_is_refused(client: TestClient[Litestar], fake: Fake, body: dict[str, Any]) -> None:
    answer = client.post("/v1/syncs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")
    assert client.get("/v1/syncs").json()["items"] == []


def test_a_sync_that_is_not_there_is_a_404(client: TestClient[Litestar]) -> None:
    assert client.get("/v1/syncs/7").json()["code"] == "unknown_sync"
    assert client.get("/v1/syncs/seven").status_code == 404
    assert client.get("/v1/syncs/7/events").status_code == 404


@pytest.mark.parametrize("role", ["read", "write"])
def test_nobody_but_an_admin_may_sync(home: str, role: str) -> None:
    with Store(home) as store:
        secret = create(store, "someone", role, None)
    settings = Settings(home=home, host="0.0.0.0", allowed_hosts=("mirror.example",), log_level="error")
    with TestClient(create_app(settings), base_url="http://mirror.example:8765", raise_server_exceptions=False) as client:
        for method, path in (("GET", "/v1/syncs"), ("POST", "/v1/syncs"), ("GET", "/v1/syncs/1"), ("POST", "/v1/syncs/1/cancel")):
            assert client.request(method, path).status_code == 401
            answer = client.request(method, path, headers={"authorization": f"Bearer {secret}"}, json={} if method == "POST" else None)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_server_that_ends_stops_its_sync_and_the_next_goes_on(home: str, fake: Fake) -> None:
    settings = Settings(home=home, log_level="error")
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8765") as client:
        number = client.post("/v1/syncs", json={"rate": 10}).json()["id"]
        until(lambda: fake.log.count("/api/download") > 2)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8765") as client:
        assert client.get(f"/v1/syncs/{number}").json()["state"] == "stopped"
        done = ended(client, client.post("/v1/syncs", json={"rate": 0}).json()["id"])
        assert done["report"]["failed"] == 0
        assert client.get("/v1/embeddings").json()["total"] == len(fake.catalogue.files)
    fetched = [seen.path for seen in fake.log.of(host="storage")]
    assert len(fetched) == len(set(fetched))
