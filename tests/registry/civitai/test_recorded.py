"""What Civitai was seen to answer when something was wrong, as far as recordings are at hand, comes to the right end here."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from mirrored import RECORDED, RECORDINGS

from embconv.registry.blobs import Blobs
from embconv.registry.civitai.client import Client
from embconv.registry.civitai.downloads import Sink, Wanted, fetch
from embconv.registry.civitai.errors import BadToken, CivitaiUnclear, FetchFailed, NotTaken
from embconv.registry.civitai.site import Site
from embconv.registry.errors import RegistryError

ERRORS = RECORDED / "errors_and_redirects.json"
SEEN: list[dict[str, Any]] = json.loads(ERRORS.read_text()) if ERRORS.exists() else []
pytestmark = RECORDINGS


def answering(seen: dict[str, Any]) -> httpx.MockTransport:
    """A Civitai that answers so, whatever it is asked, and a storage that has nothing."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host != "civitai.com":
            return httpx.Response(404, text="nothing here")
        if "body_text" in seen:
            return httpx.Response(seen["status"], text=seen["body_text"])
        if seen.get("body") is None:
            return httpx.Response(seen["status"], headers=seen["headers"])
        return httpx.Response(seen["status"], json=seen["body"])

    return httpx.MockTransport(answer)


def ask(client: Client, blobs: Blobs, request: str) -> Any:
    """What our client makes of the same request."""
    path = request.split()[1] if request.startswith("GET") else "/api/download/models/1"
    if "/download/" in path:
        return fetch(client, Wanted(path="/api/download/models/1", sha256=None, size=None, limit=1 << 20), Sink(blobs))
    if path.endswith("/me"):
        return client.check_token()
    if "/models/" in path:
        return client.model(int(path.rpartition("/")[2]))
    return client.models([("limit", "1")])


EXPECTED: dict[str, type[RegistryError] | None] = {
    "requires you to be logged in": NotTaken,
    "Early Access": NotTaken,
    "URI malformed": CivitaiUnclear,
    "Cannot read properties": CivitaiUnclear,
    "No model with id": None,
    "/me (no token)": BadToken,
    "adjusting a few things": FetchFailed,
    "r2.cloudflarestorage.com": RegistryError,  # the redirect is followed; there is nothing at the address of long ago
    "reason=download-auth": NotTaken,
    '"nextCursor"': None,
}


@pytest.mark.parametrize("seen", SEEN, ids=[f"{place}-{seen['status']}" for place, seen in enumerate(SEEN)])
def test_a_recorded_answer_comes_to_the_right_end(seen: dict[str, Any], blobs: Blobs) -> None:
    words = [word for word in EXPECTED if word in json.dumps(seen) or word in seen["request"]]
    assert words, seen
    expected = EXPECTED[words[0]]
    site = Site(origin="https://civitai.com", token="secret-of-mine" if "/me" in seen["request"] else None)
    with Client(site, rate=0, sleep=lambda seconds: None, transport_=answering(seen)) as client:
        if expected is None:
            ask(client, blobs, seen["request"])
            return
        with pytest.raises(expected) as raised:
            ask(client, blobs, seen["request"])
    assert "secret-of-mine" not in str(raised.value)
    assert raised.value.says
    assert raised.value.hint
