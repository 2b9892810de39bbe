"""The service in this process, asked as any client would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from litestar.testing import TestClient
from stored import a1111

from embconv.registry.app import create_app
from embconv.registry.settings import Settings

if TYPE_CHECKING:
    from litestar import Litestar

LOCAL = "http://127.0.0.1:8765"


@pytest.fixture
def settings(home: str) -> Settings:
    return Settings(home=home, log_level="error")


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient[Litestar]]:
    with TestClient(create_app(settings), base_url=LOCAL, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def upload(client: TestClient[Litestar]) -> Callable[..., Any]:
    """POST a file; the answer."""

    def send(data: bytes | None = None, name: str = "style.pt", **fields: str) -> Any:
        return client.post("/v1/embeddings", files={"file": (name, a1111(1) if data is None else data)}, data=fields)

    return send
