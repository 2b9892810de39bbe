"""The description is kept: schemathesis asks a real server whatever it allows, and some that it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from stored import a1111

from embconv.registry.routes.schema import document

EMBCONV = Path(sys.executable).with_name("embconv")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server runs that holds something."""
    home = tmp_path_factory.mktemp("served")
    command = [EMBCONV, "serve", "--home", home, "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1", "EMBCONV_CIVITAI_URL": "https://civitai.invalid"}) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().split()[-1]
            for seed in range(3):
                httpx.post(f"{url}/v1/embeddings", files={"file": (f"easynegative{seed}.pt", a1111(seed))}).raise_for_status()
            yield url
        finally:
            server.terminate()
            assert server.wait(20) == 0


schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(max_examples=int(os.environ.get("EMBCONV_SCHEMATHESIS", "12")), deadline=None, derandomize=True,
          suppress_health_check=[*HealthCheck])  # fmt: skip
def test_the_service_does_what_it_says(case: Any, url: str) -> None:
    # no schema can say which bytes are an embedding, which cursors were given out, which words are a base or a date, nor that 2..1 is
    # no range: such may be refused
    query = case.query or {}
    words = case.method == "POST" and case.path == "/v1/syncs"
    unsaid = words or case.media_type == "multipart/form-data" or "cursor" in query or ".." in str(query.get("vectors", ""))
    case.call_and_validate(base_url=url, excluded_checks=[schemathesis.checks.positive_data_acceptance] if unsaid else [])
