"""Who may ask for what: hosts, pages of other sites, keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace
from stored import a1111

from embconv.registry.app import create_app
from embconv.registry.keys import create
from embconv.registry.settings import Settings
from embconv.registry.store import Store

Client = TestClient[Litestar]
OURS = ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765", "embs.local:8765", "embs.local", "EMBS.local:8765"]
OTHERS = [
    "evil.example", "evil.example:8765", "127.0.0.1", "localhost", "127.0.0.1:80", "localhost:8766", "127.0.0.1.evil.example:8765",
    "evil.example#127.0.0.1:8765", "127.0.0.1:8765@evil.example", "0.0.0.0:8765", "[::]:8765", "::1", "embs.local.:8765", "xembs.local",
    "127.0.0.1:08765", "127.1:8765", "2130706433:8765", "", " 127.0.0.1:8765x",
]  # fmt: skip
PAGES = [  # Origin, Sec-Fetch-Site, status of an upload
    (None, None, 201), ("http://127.0.0.1:8765", None, 201), ("http://127.0.0.1:8765", "same-origin", 201), (None, "none", 201),
    ("https://127.0.0.1:8765", None, 201),  # a proxy may speak TLS for us
    ("http://evil.example", None, 403), ("http://127.0.0.1", None, 403), ("null", None, 403),
    ("http://localhost:8765", None, 403), ("http://127.0.0.1:8766", None, 403), ("file://", None, 403), ("", None, 403),
    (None, "cross-site", 403), (None, "same-site", 403), ("http://127.0.0.1:8765", "cross-site", 403),
    ("http://127.0.0.1:8765.evil.example", None, 403), ("http://127.0.0.1:8765/", None, 403),
]  # fmt: skip


@pytest.fixture
def settings(home: str) -> Settings:
    return Settings(home=home, log_level="error", allowed_hosts=("embs.local",))


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("host", OURS)
def test_a_name_of_ours_is_answered(client: Client, host: str, method: str) -> None:
    assert client.request(method, "/health", headers={"host": host}).status_code == (405 if method == "POST" else 200)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("host", OTHERS)
def test_any_other_name_is_not(client: Client, host: str, method: str) -> None:
    answer = client.request(method, "/health", headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "host_not_allowed")


def test_no_header_of_a_proxy_is_believed(client: Client) -> None:
    answer = client.get("/health", headers={"host": "evil.example", "x-forwarded-host": "127.0.0.1:8765", "forwarded": "host=127.0.0.1:8765"})
    assert answer.status_code == 403


@pytest.mark.parametrize(("origin", "site", "status"), PAGES)
def test_a_page_of_another_site_changes_nothing(client: Client, origin: str | None, site: str | None, status: int) -> None:
    headers = {name: value for name, value in (("origin", origin), ("sec-fetch-site", site)) if value is not None}
    answer = client.post("/v1/embeddings", files={"file": ("a.pt", a1111(1))}, headers=headers)
    assert answer.status_code == status
    assert client.get("/v1/embeddings", headers=headers).status_code == 200  # reading is not its business, and CORS is never granted
    assert "access-control-allow-origin" not in answer.headers


# keys


@pytest.fixture
def keys(home: str) -> dict[str, str]:
    with Store(home) as store:
        return {role: create(store, role, role) for role in ("read", "write", "admin")}


@pytest.fixture(params=[False, True], ids=["public", "private"])
def elsewhere(request: pytest.FixtureRequest, settings: Settings, keys: dict[str, str]) -> Iterator[tuple[Client, bool]]:
    bound = replace(settings, host="192.0.2.1", private=request.param)
    with TestClient(create_app(bound), base_url="http://embs.local:8765", raise_server_exceptions=False) as opened:
        yield opened, request.param


NEEDS = [  # method, path, least role
    ("GET", "/v1/embeddings", "read"), ("GET", "/v1/by-hash/00", "read"), ("GET", "/v1/enums", "read"), ("POST", "/v1/by-hash", "read"),
    ("POST", "/v1/embeddings", "write"), ("PATCH", "/v1/embeddings/x", "write"), ("DELETE", "/v1/embeddings/x", "write"),
    ("GET", "/v1/keys", "admin"), ("POST", "/v1/keys", "admin"), ("DELETE", "/v1/keys/x", "admin"), ("GET", "/v1/refusals", "admin"),
    ("POST", "/v1/verify", "admin"), ("GET", "/v1/backup", "admin"),
]  # fmt: skip
ORDER = [None, "read", "write", "admin"]


@pytest.mark.parametrize(("method", "path", "least"), NEEDS)
@pytest.mark.parametrize("role", ORDER)
def test_a_role_includes_those_before_it(
    elsewhere: tuple[Client, bool], keys: dict[str, str], method: str, path: str, least: str, role: str | None
) -> None:
    client, private = elsewhere
    headers = {"authorization": f"Bearer {keys[role]}"} if role else {}
    answer = client.request(method, path, headers=headers)
    enough = ORDER.index(role) >= ORDER.index(least) or (least == "read" and not private)
    expected = None if enough else 403 if role else 401
    assert (answer.status_code if answer.status_code in (401, 403) else None) == expected, answer.text


@pytest.mark.parametrize("given", ["Bearer embconv_x", "Bearer", "Basic YTpi", "Bearer " + "x" * 5000, "bearer \u00fc"])
def test_a_bad_key_is_worse_than_none(elsewhere: tuple[Client, bool], given: str) -> None:
    client, _ = elsewhere
    answer = client.post("/v1/keys", headers={"authorization": given.encode("utf-8")})
    assert (answer.status_code, answer.json()["code"]) == (401, "key_needed")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_and_an_expired_key_open_nothing(elsewhere: tuple[Client, bool], keys: dict[str, str]) -> None:
    client, _ = elsewhere
    admin = {"authorization": f"Bearer {keys['admin']}"}
    made = client.post("/v1/keys", json={"name": "brief", "role": "write", "expires": "1s"}, headers=admin)
    assert made.status_code == 201
    assert client.delete("/v1/keys/write", headers=admin).status_code == 204
    answer = client.delete("/v1/embeddings/x", headers={"authorization": f"Bearer {keys['write']}"})
    assert (answer.status_code, answer.json()["says"]) == (401, "This key was revoked.")


def test_a_key_is_shown_once(elsewhere: tuple[Client, bool], keys: dict[str, str]) -> None:
    client, _ = elsewhere
    admin = {"authorization": f"Bearer {keys['admin']}"}
    secret = client.post("/v1/keys", json={"name": "new"}, headers=admin).json()["secret"]
    listed: Any = client.get("/v1/keys", headers=admin)
    assert secret not in listed.text
    assert {key["name"] for key in listed.json()["keys"]} == {"read", "write", "admin", "new"}
