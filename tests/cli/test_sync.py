"""`embconv sync civitai`, `identify` and `previews` as people run them, against the fake."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.civitai import Fake, generate, serve

from .conftest import EMBCONV, Said


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    with serve(generate(80)) as served:
        monkeypatch.setenv("EMBCONV_CIVITAI_URL", served.api_url)
        monkeypatch.setenv("EMBCONV_ALLOW_PRIVATE", "1")
        yield served


def test_the_last_line_counts_what_became_of_every_file(fake: Fake, embconv: Callable[..., Said]) -> None:
    said = embconv("sync", "civitai", "--rate", "0")
    assert said.lines[-1] == (
        "75 added, 0 changed, 0 unchanged, 0 gone, 17 skipped (4 above_nsfw_level, 1 archived, 5 early_access, 1 generation_only,"
        " 1 login_required, 4 not_an_embedding, 1 taken_down), 1 failed"
    )
    assert said.code == 1
    wrong = fake.catalogue.models[fake.catalogue.odd["wrong_bytes"]]
    assert wrong.name.strip() in said.err
    assert "The next run tries again." in said.err


def test_only_skips_are_no_failure(fake: Fake, embconv: Callable[..., Said]) -> None:
    fake.catalogue.take(fake.catalogue.odd["wrong_bytes"])
    said = embconv("sync", "civitai", "--rate", "0")
    assert (said.code, "17 skipped" in said.out) == (0, True)


def test_a_second_run_finds_nothing_new(fake: Fake, embconv: Callable[..., Said]) -> None:
    fake.catalogue.take(fake.catalogue.odd["wrong_bytes"])
    embconv("sync", "civitai", "--rate", "0")
    fake.log.clear()
    said = embconv("sync", "civitai", "--rate", "0", "--json")
    assert (said.code, said.document["added"], said.document["unchanged"]) == (0, 0, 75)
    assert fake.log.count(host="storage") == 0
    assert fake.log.count(host="api") <= 5


def test_a_dry_run_says_what_would_be_done_and_does_nothing(fake: Fake, embconv: Callable[..., Said]) -> None:
    said = embconv("sync", "civitai", "--rate", "0", "--dry-run")
    assert said.lines[-1].startswith("78 would be added, 0 would be changed")
    assert said.code == 0
    assert fake.log.count("/api/download") == 0
    assert embconv("search", "--json").document["total"] == 0


def test_a_token_that_is_unknown_could_not_run(fake: Fake, embconv: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBCONV_CIVITAI_TOKEN", "stale-and-secret")
    said = embconv("sync", "civitai", "--rate", "0")
    assert (said.code, "[bad_token]" in said.err) == (2, True)
    assert "stale-and-secret" not in said.out + said.err


def test_a_token_opens_what_members_may_have(fake: Fake, embconv: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBCONV_CIVITAI_TOKEN", "good")
    said = embconv("sync", "civitai", "--rate", "0", "--json")
    assert "login_required" not in said.document["skipped"]
    assert fake.log.with_token("storage") == []


def test_a_token_file_that_others_can_read_is_refused(fake: Fake, embconv: Callable[..., Said], folder: Path) -> None:
    (folder / "token").write_text("good\n")
    os.chmod(folder / "token", 0o644)
    said = embconv("sync", "civitai", "--rate", "0", "--token-file", "token")
    assert (said.code, "chmod 600" in said.err) == (2, True)
    os.chmod(folder / "token", 0o600)
    assert "login_required" not in embconv("sync", "civitai", "--rate", "0", "--token-file", "token", "--json").document["skipped"]


@pytest.mark.parametrize("command", [["sync", "civitai"], ["identify", "."]])
def test_no_network_could_not_run(embconv: Callable[..., Said], samples: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("EMBCONV_ALLOW_PRIVATE", "1")
    monkeypatch.setattr("embconv.registry.civitai.client.FIRST", 0.0)
    said = embconv(*command, "--api", "http://127.0.0.1:9")
    assert (said.code, "[civitai_unreachable]" in said.err) == (2, True)


def test_a_region_that_is_blocked_could_not_run(fake: Fake, embconv: Callable[..., Said]) -> None:
    fake.faults.region_451 = True
    said = embconv("sync", "civitai", "--rate", "0", "--json")
    assert (said.code, said.document["stopped"]["code"]) == (2, "region_blocked")


@pytest.mark.parametrize("arguments", [["--nsfw", "mild"], ["--downloads", "0"], ["--rate", "-1"], ["--base", "sd99"], ["--since", "soon"], ["--api", "https://x/api"]])
def test_an_option_without_a_meaning_is_a_usage_error(fake: Fake, embconv: Callable[..., Said], arguments: list[str]) -> None:
    assert embconv("sync", "civitai", *arguments).code == 2
    assert fake.log.requests == []


def test_a_private_address_is_not_asked_unless_one_says_so(embconv: Callable[..., Said]) -> None:
    said = embconv("sync", "civitai", "--api", "http://127.0.0.1:9")
    assert (said.code, "[address_refused]" in said.err) == (2, True)


def test_ctrl_c_stops_and_the_next_run_goes_on(fake: Fake, folder: Path) -> None:
    command = [EMBCONV, "sync", "civitai", "--rate", "30", "--json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 20
        while fake.log.count("/api/download") < 5 and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert '"code": "stopped"' in out
    assert "Traceback" not in err
    done = subprocess.run([EMBCONV, "sync", "civitai", "--rate", "0", "-q"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.count("1 failed") == 1
    fetched = [seen.path for seen in fake.log.of(host="storage")]
    assert len([path for path in set(fetched) if fetched.count(path) > 1]) <= 1  # the one whose bytes are wrong


def test_identify_says_first_what_it_sends(fake: Fake, embconv: Callable[..., Said], folder: Path) -> None:
    file = next(file for file in reversed(fake.catalogue.files.values()) if file.hashes)
    (folder / "mine.safetensors").write_bytes(file.content())
    said = embconv("identify", ".", "--rate", "0")
    assert said.err.startswith("Sending 1 hash to 127.0.0.1")
    assert said.lines[-1] == "1 known, 0 not known there"
    assert fake.catalogue.models[file.model_id].name.strip() in said.out
    assert said.code == 0


def test_identify_of_a_file_that_is_no_embedding_fails_for_it_alone(fake: Fake, embconv: Callable[..., Said], folder: Path) -> None:
    file = next(file for file in reversed(fake.catalogue.files.values()) if file.hashes)
    (folder / "mine.safetensors").write_bytes(file.content())
    (folder / "other.pt").write_text("no embedding")
    said = embconv("identify", ".", "--rate", "0", "--json")
    assert (said.code, said.document["counts"]) == (1, {"known": 1, "files": 2})


def test_identify_prints_ids_alone(fake: Fake, embconv: Callable[..., Said], folder: Path) -> None:
    file = next(file for file in reversed(fake.catalogue.files.values()) if file.hashes)
    (folder / "mine.safetensors").write_bytes(file.content())
    assert embconv("identify", ".", "-q", "--rate", "0").out == f"{file.model_id}@{file.version_id}\n"


def test_previews_come_when_asked_for(fake: Fake, embconv: Callable[..., Said]) -> None:
    embconv("sync", "civitai", "--rate", "0", "--limit", "3")
    digest = embconv("search", "-q").lines[0]
    said = embconv("previews", digest, "--rate", "0", "--nsfw", "all", "--json")
    assert said.code == 0
    assert said.document[0]["failed"] == []
    assert embconv("previews", "no-such-thing").code == 1


def test_the_registry_says_where_each_came_from(fake: Fake, embconv: Callable[..., Said]) -> None:
    embconv("sync", "civitai", "--rate", "0", "--limit", "1")
    entry: dict[str, Any] = embconv("show", embconv("search", "-q").lines[0], "--json").document
    entry = entry[0] if isinstance(entry, list) else entry
    assert {origin["source"] for origin in entry["origins"]} == {"civitai"}
    assert entry["origins"][0]["url"].startswith("https://civitai.com/models/")
