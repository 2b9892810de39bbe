"""What goes wrong at Civitai and its storage, one thing at a time: what a run says of it, and that the next one makes it good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.civitai import Fake, Faults, first, generate, serve
from synced import LIMIT, Trap, calm, check_token_stays_home, embeddings, known_bytes, picture, run, states, stored, trap

from embconv.registry.civitai.run import SyncReport

ENDED, FAILED, GONE_ON = "ended", "failed", "gone on"
Break = Callable[[Faults, "Places"], None]


@dataclass(frozen=True)
class Places:
    """Where a redirect may lead."""

    fake: Fake
    trap: Trap

    @property
    def other_name(self) -> str:
        """The trap by another name."""
        return self.trap.url.replace("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, what comes of it, and words that the sentence about it has."""

    name: str
    comes: str
    says: str
    breaks: Break
    many: bool = False  # with more models than a page holds


def on(**switches: Any) -> Break:
    """Switches as they are; what can be called makes a fresh one for each run."""

    def breaks(faults: Faults, places: Places) -> None:
        for name, value in switches.items():
            setattr(faults, name, value() if callable(value) else value)

    return breaks


def to(make: Callable[[Places], str], media: str = "text/html") -> Break:
    """Downloads lead there."""

    def breaks(faults: Faults, places: Places) -> None:
        places.trap.media = media
        faults.redirect_to = make(places)

    return breaks


def once() -> Any:
    """The first time of each request."""
    return first(1, each=True)


def at_first() -> Any:
    return first(1)


FAULTS = (
    # where the API leads
    Fault("redirect_to_other_host", FAILED, "A page came", to(lambda p: f"{p.other_name}/x")),
    Fault("redirect_to_other_port", FAILED, "sha256", to(lambda p: f"{p.trap.url}/x", "application/octet-stream")),
    Fault("redirect_to_other_name_of_the_api", FAILED, "A page came", to(lambda p: f"{p.fake.api_url.replace('127.0.0.1', 'localhost')}/login")),
    Fault("redirect_to_https_where_none_is", FAILED, "", to(lambda p: f"{p.trap.url.replace('http:', 'https:')}/x")),
    Fault("redirect_to_ftp", FAILED, "not https", to(lambda p: "ftp://127.0.0.1/x.pt")),
    Fault("redirect_to_a_file", FAILED, "not https", to(lambda p: "file:///etc/passwd")),
    Fault("redirect_with_a_password", FAILED, "password", to(lambda p: f"{p.trap.url.replace('//', '//user:secret@')}/x")),
    Fault("redirect_to_no_address", FAILED, "no address", to(lambda p: "http://[::1")),
    Fault("redirect_to_an_impossible_port", FAILED, "", to(lambda p: "http://127.0.0.1:99999/x")),
    Fault("redirect_to_an_impossible_name", FAILED, "", to(lambda p: f"http://{'a' * 70}.invalid/x")),
    Fault("redirect_to_a_closed_port", FAILED, "", to(lambda p: "http://127.0.0.1:1/x")),
    Fault("redirect_to_the_api_itself", FAILED, "A page came", to(lambda p: f"{p.fake.api_url}/api/v1/enums")),
    Fault("redirect_loop", FAILED, "without an end", on(redirect_loop=True)),
    Fault("redirect_hops_some", GONE_ON, "", on(redirect_hops=3)),
    Fault("redirect_hops_too_many", FAILED, "without an end", on(redirect_hops=9)),
    Fault("redirect_to_link_local", FAILED, "link-local", on(redirect_to_private=True)),
    Fault("redirect_to_link_local_as_ipv6", FAILED, "link-local", to(lambda p: "http://[::ffff:169.254.169.254]/latest")),
    Fault("redirect_to_login", FAILED, "log in", on(redirect_to_login=True)),
    # what the storage sends
    Fault("storage_html_200", FAILED, "A page came", on(storage_html_200=True)),
    Fault("storage_truncates_once", GONE_ON, "", on(storage_truncates=once)),
    Fault("storage_truncates_at_the_first_byte", FAILED, "broke off", on(storage_truncates=True, storage_truncate_at=0)),
    Fault("storage_truncates_always", FAILED, "broke off", on(storage_truncates=True, storage_truncate_at=100)),
    Fault("storage_drops_once", GONE_ON, "", on(storage_drops=once)),
    Fault("storage_drops_always", FAILED, "broke off", on(storage_drops=True, storage_drop_at=10)),
    Fault("storage_ignores_range", GONE_ON, "", on(storage_truncates=at_first, storage_ignores_range=True)),
    Fault("storage_416_once", GONE_ON, "", on(storage_truncates=at_first, storage_416=1)),
    Fault("storage_new_etag", GONE_ON, "", on(storage_truncates=at_first, storage_new_etag=True)),
    Fault("storage_gzip_bomb", FAILED, "packed", on(storage_gzip_bomb=True, bomb_bytes=64 << 20)),
    Fault("storage_gzipped", FAILED, "packed", on(storage_gzipped=True)),
    Fault("storage_wrong_bytes", FAILED, "sha256", on(storage_wrong_bytes=True)),
    Fault("storage_wrong_bytes_once", FAILED, "sha256", on(storage_wrong_bytes=1)),
    Fault("storage_bigger_than_said", FAILED, "sha256", on(storage_bigger_than_said=True, extra_bytes=5000)),
    Fault("storage_much_bigger_than_said", FAILED, f"{LIMIT:,}", on(storage_bigger_than_said=True, extra_bytes=LIMIT)),
    Fault("storage_endless", FAILED, f"{LIMIT:,}", on(storage_endless=True)),
    Fault("storage_no_length", GONE_ON, "", on(storage_no_length=True)),
    Fault("storage_no_length_and_cut", GONE_ON, "", on(storage_no_length=True, storage_truncates=at_first)),
    Fault("storage_no_disposition", GONE_ON, "", on(storage_no_disposition=True)),
    Fault("storage_slow", GONE_ON, "", on(storage_slow=True, storage_seconds=0.002)),
    Fault("signature_expired_once", GONE_ON, "", on(storage_expired=2)),
    Fault("signature_expired_always", FAILED, "403", on(storage_expired=True)),
    Fault("signature_too_old", FAILED, "403", on(signature_seconds=-1)),
    Fault("signature_good_for_one_request", GONE_ON, "", on(storage_truncates=at_first, storage_expired_after=1)),
    Fault("storage_500_once", GONE_ON, "", on(storage_500=1)),
    Fault("storage_500_always", FAILED, "500", on(storage_500=True)),
    Fault("storage_404", FAILED, "404", on(storage_404=True)),
    # downloads at the API
    Fault("download_404_once", GONE_ON, "", on(download_404=once)),
    Fault("download_404_always", FAILED, "", on(download_404=True)),
    Fault("download_404_page", FAILED, "404 with a page", on(html_404=lambda: lambda seen: "download" in seen.path)),
    Fault("download_500", FAILED, "500", on(download_500=True)),
    Fault("download_503_page_once", GONE_ON, "", on(html_503=lambda: first(1, "download"))),
    Fault("download_drops_once", GONE_ON, "", on(api_drops=lambda: first(1, "download"))),
    Fault("download_counter_429", ENDED, "unusual amount", on(download_counter_429=True)),
    Fault("download_counter_429_for_a_day", ENDED, "86,400", on(download_counter_429=True, retry_after="86400")),
    Fault("download_429_for_a_moment", GONE_ON, "", on(download_counter_429=1, retry_after="2")),
    Fault("forbidden_403", FAILED, "403", on(forbidden_403=True)),
    # every answer of the API
    Fault("region_451", ENDED, "region", on(region_451=True)),
    Fault("region_451_at_downloads", ENDED, "region", on(region_451=lambda: lambda seen: "download" in seen.path)),
    Fault("html_503_at_first", GONE_ON, "", on(html_503=2)),
    Fault("html_503", ENDED, "503", on(html_503=True)),
    Fault("html_520", ENDED, "520", on(html_503=True, html_status=520)),
    Fault("html_403", ENDED, "403", on(html_403=True)),
    Fault("html_404", ENDED, "404", on(html_404=True)),
    Fault("maintenance_text_200_at_first", GONE_ON, "", on(maintenance_text_200=1)),
    Fault("maintenance_text_200", ENDED, "text/plain", on(maintenance_text_200=True)),
    Fault("rate_429", ENDED, "Too many requests", on(rate_429=True)),
    Fault("rate_429_with_retry_after", GONE_ON, "", on(rate_429=2, retry_after="3")),
    Fault("rate_429_for_an_hour", ENDED, "3,600", on(rate_429=True, retry_after="3600")),
    Fault("json_503", ENDED, "Service unavailable", on(json_503=True, retry_after="2")),
    Fault("search_503_at_first", GONE_ON, "", on(search_503=2)),
    Fault("error_500", ENDED, "500", on(error_500=True)),
    Fault("api_invalid_json", ENDED, "not what was expected", on(api_invalid_json=True)),
    Fault("api_cut", ENDED, "not what was expected", on(api_cut=True)),
    Fault("api_drops_once", GONE_ON, "", on(api_drops=1)),
    Fault("api_drops", ENDED, "does not answer", on(api_drops=True)),
    Fault("api_gzip_bomb", ENDED, "larger", on(api_gzip_bomb=True, bomb_bytes=64 << 20)),
    Fault("api_huge", ENDED, "larger", on(api_huge=True, huge_bytes=50 << 20)),
    Fault("api_slow", GONE_ON, "", on(api_slow=3, api_seconds=0.05)),
    # the list
    Fault("page_short", GONE_ON, "", on(page_short=True), many=True),
    Fault("page_empty_with_cursor", GONE_ON, "", on(page_empty_with_cursor=2), many=True),
    Fault("page_empty_with_cursor_always", FAILED, "circles", on(page_empty_with_cursor=True), many=True),
    Fault("cursor_stuck_once", GONE_ON, "", on(cursor_stuck=lambda: lambda seen: seen.one("sort") == "Oldest"), many=True),
    Fault("cursor_stuck_always", FAILED, "circles", on(cursor_stuck=True), many=True),
    Fault("cursor_number", GONE_ON, "", on(cursor_number=True), many=True),
    Fault("cursor_endless", FAILED, "circles", on(cursor_endless=True), many=True),
    Fault("next_page_other_host", GONE_ON, "", on(next_page_other_host=True), many=True),
)  # fmt: skip


@pytest.fixture(scope="module")
def other() -> Iterator[Trap]:
    with trap() as found:
        yield found


def undisturbed(folder: Path, fake: Fake) -> dict[str, Any]:
    """What a run without faults gives."""
    report = run(str(folder / "home"), fake, token="good")
    assert (report.failed, report.stopped) == (0, None)
    return picture(str(folder / "home"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fake, dict[str, Any]]]:
    with serve(generate(4, files=6, oddities=False)) as fake:
        yield fake, undisturbed(tmp_path_factory.mktemp("few"), fake)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fake, dict[str, Any]]]:
    with serve(generate(104, files=104, oddities=False)) as fake:
        yield fake, undisturbed(tmp_path_factory.mktemp("many"), fake)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_said_and_the_next_run_makes_it_good(fault: Fault, request: pytest.FixtureRequest, other: Trap, home: str) -> None:
    fake, whole = request.getfixturevalue("many" if fault.many else "few")
    other.seen.clear()
    fake.log.clear()
    fault.breaks(fake.faults, Places(fake, other))
    try:
        report = run(home, fake, token="good")
    finally:
        calm(fake.faults)
    check_said(report, fault, fake)
    check_nothing_wrong_is_kept(home, fake, whole)
    check_token_stays_home(fake)
    assert [seen for seen in other.seen if "authorization" in seen or "good" in str(seen)] == []
    if fault.comes == GONE_ON:
        assert picture(home) == whole
    after = run(home, fake, token="good")
    assert (after.failed, after.waiting, after.stopped) == (0, 0, None)
    assert picture(home) == whole


def check_said(report: SyncReport, fault: Fault, fake: Fake) -> None:
    """Each failure is a sentence which names the model and what to do."""
    assert (bool(report.stopped), bool(report.failed)) == {ENDED: (True, False), FAILED: (False, True), GONE_ON: (False, False)}[fault.comes], report
    assert set(report.skipped) <= ({"region_blocked"} if "region" in fault.name else set())
    titles = tuple(model.name.strip() for model in fake.catalogue.models.values())
    said = [*report.troubles, *([report.stopped] if report.stopped else [])]
    for each in said:
        assert each.says.endswith(".")
        assert each.hint.endswith(".") or "--" in each.hint
        assert each.name.startswith(titles) or not each.ref.startswith("civitai:")
        assert "good" not in f"{each}", "the token"
        assert "X-Amz" not in f"{each}", "a signature"
    assert not said or any(fault.says in each.says for each in said), said


def check_nothing_wrong_is_kept(home: str, fake: Fake, whole: dict[str, Any]) -> None:
    """Whatever came, what is stored is what Civitai has."""
    assert stored(home) <= known_bytes(fake.catalogue)
    assert embeddings(home) <= whole["embeddings"]
    held = {id_: got for id_, (state, _, got) in states(home).items() if state == "held"}
    assert all(got == fake.catalogue.files[id_].sha256 for id_, got in held.items())


def test_there_are_at_least_25_faults_each_with_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 25
