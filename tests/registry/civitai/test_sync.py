"""A whole sync against the fake Civitai: which files are taken, which are not and why, and what is said of each."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.civitai import Catalogue, Fake, always, first, generate, serve
from fakes.civitai_catalogue import Creator, PaidAccess, tensor_file
from synced import (
    asked,
    calm,
    check_token_stays_home,
    embeddings,
    known_bytes,
    lines,
    picture,
    rows,
    run,
    sent,
    state,
    states,
    stored,
)

from embconv.registry.blobs import Blobs
from embconv.registry.civitai.choose import Options
from embconv.registry.civitai.client import Client
from embconv.registry.civitai.run import Control, Progress, SyncReport
from embconv.registry.civitai.site import Site
from embconv.registry.civitai.sync import sync
from embconv.registry.errors import BadParameter
from embconv.registry.ingest import take_away
from embconv.registry.store import Store

HELD, WAITING = ("held", ""), ("waiting", "")
GATED = ("early_time_frame", "early_paid", "early_permanent", "early_pending")
RATED = {"level_2": "pg13", "level_4": "r", "level_8": "x", "level_16": "xxx"}
# in no list that anybody may see: contract 1.1
HIDDEN = ("early_config", "unrated", "level_32", "poi", "no_files", "unpublished", "private", "lora", "unknown_type")
TAKEN = (
    "first", "null_stats", "no_creator", "null_username", "angle_name", "dot_name", "star_name", "spaced_negative", "path_name", "escaped_name",
    "long_word", "unicode_name", "unnamed", "override_name", "no_trained_words", "null_trained_words", "two_words", "shared_sha256",
    "shared_sha256_again", "scripted_html", "null_description", "use_string", "use_literal", "use_null", "use_empty", "no_primary", "early_past",
    "mixed_levels", "minor", "danger", "replaced_file", "null_date", "null_date_again", "null_date_last",
)  # fmt: skip
# odd model -> state and reason of each of its files after a run with --nsfw pg and no token; what only waits is passed over without a request
EXPECTED = {
    **dict.fromkeys(TAKEN, (HELD,)),
    **dict.fromkeys(HIDDEN, ()),
    **dict.fromkeys((*GATED, *RATED, "archived", "taken_down", "training_only", "unknown_words"), (WAITING,)),
    **dict.fromkeys(("negative_pair", "twin_names"), (HELD, HELD)),
    **dict.fromkeys(("training_beside", "with_config"), (HELD, WAITING)),
    **dict.fromkeys(("pending_scan", "some_hashes"), (("unverified", ""),)),
    "three_versions": (HELD, HELD, HELD),
    "mixed_gate": (WAITING, HELD),
    "login_required": (("skipped", "login_required"),),
    "generation_only": (("skipped", "generation_only"),),
    "wrong_bytes": (("failed", ""),),
}
SKIPPED = {"above_nsfw_level": 4, "archived": 1, "early_access": 5, "generation_only": 1, "login_required": 1, "not_an_embedding": 4, "taken_down": 1}


def of(*names: str) -> Catalogue:
    """The odd models of these names alone."""
    whole = generate(70)
    return Catalogue([whole.models[whole.odd[name]] for name in names], odd={name: whole.odd[name] for name in names})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fake, str, SyncReport]]:
    """Everything odd and some plain models, synced once; to be looked at only."""
    home = os.fspath(tmp_path_factory.mktemp("whole") / "home")
    with serve(generate(74)) as fake:
        yield fake, home, run(home, fake)


@pytest.fixture
def plain() -> Iterator[Fake]:
    """Four plain models with six files."""
    with serve(generate(4, files=6, oddities=False)) as fake:
        yield fake


def models(fake: Fake) -> list[int]:
    return sorted(fake.catalogue.models)


def file_of(fake: Fake, model_id: int, place: int = 0) -> Any:
    return fake.catalogue.models[model_id].files[place]


def odd_file(fake: Fake, name: str, place: int = 0) -> Any:
    return file_of(fake, fake.catalogue.odd[name], place)


def entry_of(home: str, sha256: str) -> dict[str, Any]:
    """The document of the embedding that a file holds."""
    sql = "SELECT d.document FROM documents d JOIN embedding_files l ON l.embedding_id = d.id JOIN files f ON f.id = l.file_id WHERE f.sha256 = ?"
    ((document,),) = rows(home, sql, sha256)
    return json.loads(document)  # type: ignore[no-any-return]


# everything odd


@pytest.mark.parametrize("odd", EXPECTED)
def test_each_odd_model_is_taken_or_passed_over(whole: tuple[Fake, str, SyncReport], odd: str) -> None:
    fake, home, _ = whole
    assert tuple(state(home, fake, odd)) == EXPECTED[odd]


def test_no_oddity_of_the_fake_is_forgotten_here(whole: tuple[Fake, str, SyncReport]) -> None:
    assert EXPECTED.keys() == whole[0].catalogue.odd.keys()


def test_the_report_counts_each_file_once_with_its_reason(whole: tuple[Fake, str, SyncReport]) -> None:
    _, home, report = whole
    held = [each for each in states(home).values() if each[0] in {"held", "unverified"}]
    assert report.skipped == SKIPPED
    assert (report.added, report.failed, report.changed, report.unchanged, report.gone, report.waiting) == (len(held), 1, 0, 0, 0, 0)
    assert report.stopped is None
    assert len(states(home)) == len(held) + 1 + sum(SKIPPED.values())


def test_what_is_stored_is_exactly_what_was_taken(whole: tuple[Fake, str, SyncReport]) -> None:
    fake, home, _ = whole
    got = {got for _, _, got in states(home).values() if got}
    assert stored(home) == got <= known_bytes(fake.catalogue)
    assert {sha256 for _, sha256 in embeddings(home)} == got


def test_wrong_bytes_are_refused_and_the_model_is_named(whole: tuple[Fake, str, SyncReport]) -> None:
    fake, home, report = whole
    model = fake.catalogue.models[fake.catalogue.odd["wrong_bytes"]]
    (trouble,) = report.troubles
    assert trouble.ref == f"civitai:{model.id}@{model.versions[0].id}"
    assert model.name in trouble.name
    assert "sha256" in trouble.says
    assert trouble.hint
    assert not {model.files[0].sha256} & stored(home)


def test_a_full_walk_asks_little_more_than_it_must(whole: tuple[Fake, str, SyncReport]) -> None:
    fake, _, report = whole
    fewest = 2 + len({*sent(fake)}) + 2  # two lists, one request for each file, two that are refused
    assert asked(fake) == report.requests <= 1.1 * fewest


def test_each_file_is_asked_for_by_its_id_and_sent_once(whole: tuple[Fake, str, SyncReport]) -> None:
    fake, _, _ = whole
    assert all(seen.one("fileId") for seen in fake.log.of("/api/download"))
    assert len(sent(fake)) == len(set(sent(fake)))


def test_the_same_bytes_in_several_models_are_fetched_once_and_told_of_thrice(whole: tuple[Fake, str, SyncReport]) -> None:
    fake, home, _ = whole
    names = ("first", "shared_sha256", "shared_sha256_again")
    ids = [odd_file(fake, name).id for name in names]
    sha256 = odd_file(fake, "first").sha256
    assert len([id_ for id_ in sent(fake) if id_ in ids]) == 1
    told = {id_ for id_, _, _ in lines(home, sha256)}
    assert told == {f"{file.model_id}@{file.version_id}" for file in (odd_file(fake, name) for name in names)}


def test_unsanitised_names_never_are_paths(whole: tuple[Fake, str, SyncReport]) -> None:
    _, home, _ = whole
    there = [path.relative_to(Path(home).parent).as_posix() for path in Path(home).parent.rglob("*") if path.is_file()]
    known = re.compile(r"home/(registry\.db(-wal|-shm)?|blobs/sha256/[0-9a-f]{2}/[0-9a-f]{64})")
    assert [path for path in there if not known.fullmatch(path)] == []


@pytest.mark.parametrize(
    ("odd", "said"),
    [("angle_name", "<x>.bin"), ("dot_name", "..pt"), ("star_name", "*.pt"), ("path_name", "../../sample.pt"), ("escaped_name", "../sample.pt"),
     ("spaced_negative", "By bad artist -neg.pt"), ("override_name", "Renamed Sample.safetensors"), ("unicode_name", "水墨.pt")],
)  # fmt: skip
def test_an_odd_name_is_told_as_it_was(whole: tuple[Fake, str, SyncReport], odd: str, said: str) -> None:
    fake, home, _ = whole
    ((_, _, claims),) = lines(home, odd_file(fake, odd).sha256)
    assert claims["file"] == said


def test_the_two_of_a_pair_know_each_other(whole: tuple[Fake, str, SyncReport]) -> None:
    fake, home, _ = whole
    positive, negative = (odd_file(fake, "negative_pair", place) for place in (0, 1))
    for own, role, other in ((positive, "positive", negative), (negative, "negative", positive)):
        entry, ((_, _, claims),) = entry_of(home, own.sha256), lines(home, own.sha256)
        assert entry["role"] == claims["role"] == role
        assert claims["pair"]["sha256"] == other.sha256
        assert claims["pair"]["role"] != role
    assert entry_of(home, positive.sha256)["digest"] != entry_of(home, negative.sha256)["digest"]


def test_versions_and_files_of_one_model_stay_apart(whole: tuple[Fake, str, SyncReport]) -> None:
    fake, home, _ = whole
    three = fake.catalogue.models[fake.catalogue.odd["three_versions"]].files
    assert {lines(home, file.sha256)[0][0] for file in three} == {f"{file.model_id}@{file.version_id}" for file in three}
    twins = [odd_file(fake, "twin_names", place) for place in (0, 1)]
    assert len({entry_of(home, file.sha256)["digest"] for file in twins}) == 2
    assert len({(*lines(home, file.sha256)[0][:1], lines(home, file.sha256)[0][2]["file_id"]) for file in twins}) == 2


def test_what_people_wrote_cannot_do_anything(whole: tuple[Fake, str, SyncReport]) -> None:
    fake, home, _ = whole
    ((_, _, claims),) = lines(home, odd_file(fake, "scripted_html").sha256)
    ((body,),) = rows(home, "SELECT body FROM civitai_models WHERE id = ?", fake.catalogue.odd["scripted_html"])
    for text in (claims["description"], json.loads(body)["description"]):
        assert "Sample" in text
        assert not re.search(r"script|onclick|onerror|alert\(3\)", text)


@pytest.mark.parametrize(("odd", "permits"), [("use_string", "sell_models"), ("use_literal", "rent_on_civitai"), ("first", "rent_on_civitai")])
def test_a_licence_is_read_in_each_generation(whole: tuple[Fake, str, SyncReport], odd: str, permits: str) -> None:
    fake, home, _ = whole
    assert permits in entry_of(home, odd_file(fake, odd).sha256)["licence"]["permits"]


@pytest.mark.parametrize("odd", ["use_null", "use_empty"])
def test_a_licence_that_says_nothing_of_selling_permits_none(whole: tuple[Fake, str, SyncReport], odd: str) -> None:
    fake, home, _ = whole
    permits = entry_of(home, odd_file(fake, odd).sha256)["licence"]["permits"]
    assert not {"sell_models", "sell_images", "rent_on_civitai", "rent"} & set(permits)
    assert "derivatives" in permits


# again


def test_a_second_run_fetches_nothing_and_asks_at_most_five_times(home: str) -> None:
    with serve(generate(120)) as fake:
        fake.catalogue.change_file(odd_file(fake, "wrong_bytes").id, served=None)
        added = run(home, fake).added
        before = picture(home)
        fake.log.clear()
        report = run(home, fake)
        assert (asked(fake), sent(fake)) == (report.requests, [])
        assert report.requests <= 5
        assert (report.added, report.changed, report.failed, report.gone, report.waiting) == (0, 0, 0, 0, 0)
        assert 0 < report.unchanged <= added
        assert picture(home) == before


def test_with_a_token_it_is_five_too_and_only_the_api_sees_it(home: str) -> None:
    with serve(of("first", "login_required", "early_paid", "generation_only")) as fake:
        report = run(home, fake, token="good")
        assert report.skipped == {"early_access": 1, "generation_only": 1}
        assert state(home, fake, "login_required") == [HELD]
        fake.log.clear()
        assert run(home, fake, token="good").requests <= 5
        assert sent(fake) == []
        check_token_stays_home(fake)
        assert fake.log.with_token("api")


def test_what_a_token_opens_is_fetched_once_there_is_one(home: str) -> None:
    with serve(of("first", "login_required")) as fake:
        assert run(home, fake).skipped == {"login_required": 1}
        fake.log.clear()
        assert run(home, fake).skipped == {"login_required": 1}
        assert asked(fake, "/api/download") == 0
        assert run(home, fake, token="good").added == 1


def test_what_a_token_was_bought_with_is_taken(home: str) -> None:
    with serve(of("early_paid")) as fake:
        version = fake.catalogue.models[fake.catalogue.odd["early_paid"]].versions[0]
        fake.faults.tokens["good"] = type(fake.faults.tokens["good"])(bought=frozenset({version.id}))
        assert run(home, fake, token="good").added == 1


def test_news_are_fetched_and_nothing_else(home: str, plain: Fake) -> None:
    run(home, plain)
    newer = generate(6, files=8, oddities=False)
    for id_ in models(plain)[-1:]:
        plain.catalogue.put(newer.models[id_])
    new = [plain.catalogue.put(newer.models[id_]) for id_ in sorted(newer.models)[-2:]]
    plain.log.clear()
    report = run(home, plain)
    assert report.added == len(sent(plain)) == sum(len(model.files) for model in new)


def test_a_new_version_of_an_old_model_is_fetched(home: str, plain: Fake) -> None:
    run(home, plain)
    old = plain.catalogue.models[models(plain)[0]]
    made = generate(9, files=9, seed=5, oddities=False).models
    donor = made[max(made)].versions[0]
    version = type(donor)(**{**{n: getattr(donor, n) for n in donor.__struct_fields__}, "model_id": old.id, "files": tuple(
        type(f)(**{**{n: getattr(f, n) for n in f.__struct_fields__}, "model_id": old.id}) for f in donor.files)})  # fmt: skip
    plain.catalogue.change_model(old.id, versions=(version, *old.versions), last_version_at="2026-08-11T00:00:00.000Z")
    plain.log.clear()
    assert run(home, plain).added == 1
    assert sent(plain) == [version.files[0].id]


def test_a_replaced_file_is_fetched_and_both_are_kept(home: str, plain: Fake) -> None:
    run(home, plain)
    old = file_of(plain, models(plain)[0])
    new = plain.catalogue.change_file(old.id, make=lambda id_: tensor_file(id_ + 500))
    report = run(home, plain)
    assert (report.changed, report.added, report.failed) == (1, 0, 0)
    assert {old.sha256, new.sha256} <= stored(home)
    assert states(home)[old.id] == ("held", "", new.sha256)


def test_a_changed_description_is_a_change_without_a_download(home: str, plain: Fake) -> None:
    run(home, plain)
    model = plain.catalogue.change_model(models(plain)[0], description="<p>Another word</p>")
    plain.log.clear()
    report = run(home, plain)
    assert (report.changed, sent(plain)) == (len(model.files), [])
    assert "Another word" in lines(home, model.files[0].sha256)[-1][2]["description"]


def test_counts_that_change_by_the_hour_are_no_news(home: str, plain: Fake) -> None:
    run(home, plain)
    for version in list(plain.catalogue.versions.values()):
        plain.catalogue.change_version(version.id, downloads=version.downloads + 1)
    before = len(rows(home, "SELECT 1 FROM origins"))
    assert run(home, plain).changed == 0
    assert len(rows(home, "SELECT 1 FROM origins")) == before


def test_a_pending_file_is_unverified_until_its_hashes_appear(home: str) -> None:
    with serve(of("pending_scan", "some_hashes")) as fake:
        file = odd_file(fake, "pending_scan")
        assert run(home, fake).added == 2
        assert state(home, fake, "pending_scan") == [("unverified", "")]
        assert file.sha256 in stored(home)
        fake.catalogue.change_file(file.id, make=file.make, pickle_scan="Success")
        fake.log.clear()
        report = run(home, fake)
        assert (report.changed, sent(fake)) == (1, [])
        assert state(home, fake, "pending_scan") == [HELD]
        assert lines(home, file.sha256)[-1][2]["hashes"]["sha256"] == file.sha256


def test_a_pending_file_whose_hashes_are_of_other_bytes_is_fetched_again(home: str) -> None:
    with serve(of("pending_scan")) as fake:
        file = odd_file(fake, "pending_scan")
        run(home, fake)
        new = fake.catalogue.change_file(file.id, make=lambda id_: tensor_file(id_ + 700))
        assert run(home, fake).changed == 1
        assert states(home)[file.id] == ("held", "", new.sha256)


def test_what_is_no_embedding_is_fetched_once_and_remembered(home: str, plain: Fake) -> None:
    file = plain.catalogue.change_file(file_of(plain, models(plain)[0]).id, make=lambda _: b"PK\x05\x06" + bytes(18))
    assert run(home, plain).skipped == {"not_an_embedding": 1}
    assert file.sha256 not in stored(home)
    plain.log.clear()
    assert run(home, plain).skipped == {"not_an_embedding": 1}
    assert sent(plain) == []


def test_what_is_too_large_is_never_begun(home: str, plain: Fake) -> None:
    report = run(home, plain, most=2000)
    assert report.skipped == {"not_an_embedding": 6}
    assert asked(plain, "/api/download") == 0


# gone


def test_a_model_that_vanishes_gets_a_line_and_loses_nothing(home: str, plain: Fake) -> None:
    run(home, plain)
    before, model = stored(home), plain.catalogue.models[models(plain)[1]]
    plain.faults.vanished = {model.id}
    report = run(home, plain)
    assert report.gone == len(model.files)
    assert stored(home) == before
    for file in model.files:
        assert [state_ for _, state_, _ in lines(home, file.sha256)] == ["present", "gone"]
        assert entry_of(home, file.sha256)["creators"]
    assert rows(home, "SELECT state FROM civitai_models WHERE id = ?", model.id) == [("gone",)]
    assert run(home, plain).gone == 0  # said once
    assert [state_ for _, state_, _ in lines(home, model.files[0].sha256)] == ["present", "gone"]


def test_a_model_that_comes_back_gets_a_line_and_what_was_not_here_is_fetched(home: str, plain: Fake) -> None:
    model = plain.catalogue.models[models(plain)[1]]
    plain.faults.storage_404 = True
    assert run(home, plain).failed == 6
    plain.faults.vanished, plain.faults.storage_404 = {model.id}, False
    run(home, plain)
    plain.faults.vanished = set()
    report = run(home, plain)
    assert report.added == len(model.files)
    assert {file.sha256 for file in model.files} <= stored(home)


def test_a_held_model_that_comes_back_is_present_again(home: str, plain: Fake) -> None:
    run(home, plain)
    model = plain.catalogue.models[models(plain)[1]]
    plain.faults.vanished = {model.id}
    run(home, plain)
    plain.faults.vanished = set()
    run(home, plain)
    assert [state_ for _, state_, _ in lines(home, model.files[0].sha256)] == ["present", "gone", "present"]


def test_a_page_in_place_of_a_404_makes_no_model_gone(home: str, plain: Fake) -> None:
    run(home, plain)
    plain.faults.omitted_from_ids = {models(plain)[1]}
    plain.faults.html_404 = always(f"/api/v1/models/{models(plain)[1]}")
    report = run(home, plain)
    assert report.gone == 0
    assert {row[0] for row in rows(home, "SELECT state FROM civitai_models")} == {"present"}
    calm(plain.faults)
    assert run(home, plain).failed == 0


@pytest.mark.parametrize("switch", ["omitted", "omitted_from_ids"])
def test_a_model_that_the_lists_leave_out_is_found_by_its_id(home: str, plain: Fake, switch: str) -> None:
    run(home, plain)
    id_ = models(plain)[1]
    setattr(plain.faults, switch, {id_})
    report = run(home, plain)
    assert (report.gone, report.failed) == (0, 0)
    assert rows(home, "SELECT state FROM civitai_models WHERE id = ?", id_) == [("present",)]


def test_an_archived_model_gets_a_line_and_stays(home: str, plain: Fake) -> None:
    run(home, plain)
    model = plain.catalogue.change_model(models(plain)[0], mode="Archived")
    before = stored(home)
    report = run(home, plain)
    assert (report.failed, report.added, report.gone) == (0, 0, 0)
    assert stored(home) == before
    assert [state_ for _, state_, _ in lines(home, model.files[0].sha256)] == ["present", "archived"]
    run(home, plain)
    assert [state_ for _, state_, _ in lines(home, model.files[0].sha256)] == ["present", "archived"]


def test_a_model_archived_before_it_was_fetched_is_passed_over_and_taken_when_it_is_back(home: str, plain: Fake) -> None:
    model = plain.catalogue.models[models(plain)[0]]
    run(home, plain, metadata_only=True)
    plain.catalogue.change_model(model.id, mode="Archived")
    assert run(home, plain).skipped == {"archived": len(model.files)}
    plain.catalogue.change_model(model.id, mode=None)
    assert run(home, plain).added == len(model.files)


def test_a_model_archived_between_list_and_download_is_too(home: str, plain: Fake) -> None:
    model = plain.catalogue.models[models(plain)[0]]

    def heard(progress: Progress) -> None:
        if progress.phase == "fetching" and not progress.done:
            plain.catalogue.change_model(model.id, mode="Archived")

    assert run(home, plain, heard=heard).skipped == {"archived": len(model.files)}
    plain.catalogue.change_model(model.id, mode=None)
    assert run(home, plain).skipped == {"archived": len(model.files)}  # for a day: nothing has told that it is back
    plain.catalogue.change_model(model.id, mode="Archived")
    run(home, plain)
    plain.catalogue.change_model(model.id, mode=None)
    assert run(home, plain).added == len(model.files)


def test_a_version_that_is_taken_back_gets_a_line(home: str) -> None:
    with serve(of("three_versions")) as fake:
        model = fake.catalogue.models[fake.catalogue.odd["three_versions"]]
        run(home, fake)
        gone = fake.catalogue.change_version(model.versions[1].id, status="Unpublished")
        forget_that_all_was_seen(home)
        assert run(home, fake).gone == 1
        assert [state_ for _, state_, _ in lines(home, gone.files[0].sha256)] == ["present", "gone"]
        assert len(stored(home)) == 3


def forget_that_all_was_seen(home: str) -> None:
    """So that the next run walks through everything."""
    with Store(home) as store:
        store.write(lambda db: db.execute("DELETE FROM sync_state WHERE key LIKE 'whole:%'"))


@pytest.mark.parametrize("block", [False, True])
def test_what_was_taken_down_here_is_not_fetched_again(home: str, plain: Fake, block: bool) -> None:
    run(home, plain)
    file = file_of(plain, models(plain)[0])
    with Store(home) as store:
        take_away(store, Blobs(home), entry_id(home, file.sha256), why="asked for", block=block)
    assert file.sha256 not in stored(home)
    plain.log.clear()
    for _ in range(2):
        report = run(home, plain)
        assert report.skipped == {"taken_down": 1}
        assert sent(plain) == []
    assert file.sha256 not in stored(home)


def entry_id(home: str, sha256: str) -> int:
    sql = "SELECT l.embedding_id FROM embedding_files l JOIN files f ON f.id = l.file_id WHERE f.sha256 = ?"
    return int(rows(home, sql, sha256)[0][0])


def test_a_model_taken_down_at_civitai_is_said_and_kept(home: str, plain: Fake) -> None:
    run(home, plain)
    model = plain.catalogue.change_model(models(plain)[0], mode="TakenDown")
    run(home, plain)
    assert [state_ for _, state_, _ in lines(home, model.files[0].sha256)] == ["present", "taken_down"]
    assert model.files[0].sha256 in stored(home)


def test_a_404_of_a_download_is_tried_again_after_a_day(home: str, plain: Fake) -> None:
    model = plain.catalogue.models[models(plain)[0]]

    def heard(progress: Progress) -> None:
        if progress.phase == "fetching" and not progress.done:
            plain.catalogue.change_model(model.id, poi=True)  # then a download answers 404

    assert run(home, plain, heard=heard).skipped == {"not_found": len(model.files)}
    plain.catalogue.change_model(model.id, poi=False)
    plain.log.clear()
    assert run(home, plain).skipped == {"not_found": len(model.files)}
    assert asked(plain, "/api/download") == 0
    with Store(home) as store:
        store.write(lambda db: db.execute("UPDATE civitai_files SET again = '2026-01-01T00:00:00Z' WHERE reason = 'not_found'"))
    assert run(home, plain).added == len(model.files)


# what is asked for


@pytest.mark.parametrize(("nsfw", "taken"), [("pg", 1), ("pg13", 2), ("r", 3), ("x", 4), ("xxx", 5), ("all", 5)])
def test_the_level_is_the_highest_that_is_taken(home: str, nsfw: str, taken: int) -> None:
    with serve(of("first", *RATED)) as fake:
        report = run(home, fake, nsfw=nsfw)
        assert report.added == taken
        assert report.skipped == ({"above_nsfw_level": 5 - taken} if taken < 5 else {})


def test_a_higher_level_later_fetches_what_was_passed_over(home: str) -> None:
    with serve(of("first", *RATED)) as fake:
        run(home, fake)
        assert run(home, fake, nsfw="all").added == len(RATED)
        fake.log.clear()
        run(home, fake, nsfw="all")
        assert sent(fake) == []


@pytest.mark.parametrize(("base", "theirs"), [("sdxl", {"SDXL 1.0", "Pony", "Illustrious"}), ("SD 1.5", {"SD 1.5"}), ("sd1", {"SD 1.5"})])
def test_only_a_base_that_is_asked_for_is_fetched(home: str, base: str, theirs: set[str]) -> None:
    with serve(generate(40, files=40, oddities=False)) as fake:
        run(home, fake, base=(base,))
        wanted = {file.sha256 for version in fake.catalogue.versions.values() if version.base_model in theirs for file in version.files}
        assert stored(home) == wanted
        assert len(wanted) < 40


def test_a_query_takes_what_civitai_finds_and_calls_nothing_gone(home: str) -> None:
    with serve(generate(40, files=40, oddities=False)) as fake:
        word = next(iter(fake.catalogue.models.values())).name.split()[0]
        wanted = {file.sha256 for model in fake.catalogue.models.values() if word in model.name for file in model.files}
        report = run(home, fake, query=word)
        assert stored(home) == wanted
        assert report.added == len(wanted) < 40
        assert (run(home, fake).added, len(stored(home))) == (40 - len(wanted), 40)
        assert run(home, fake, query=word).gone == 0


def test_a_query_of_more_than_a_page_is_walked_to_its_end(home: str) -> None:
    with serve(generate(230, files=230, oddities=False)) as fake:
        report = run(home, fake, query="1", metadata_only=True)
        assert report.models == sum("1" in model.name for model in fake.catalogue.models.values()) > 100


def test_a_creator_takes_what_they_made(home: str) -> None:
    with serve(generate(40, files=40, oddities=False)) as fake:
        name = next(iter(fake.catalogue.models.values())).creator.username  # type: ignore[union-attr]
        wanted = {file.sha256 for model in fake.catalogue.models.values() if model.creator == Creator(name, None) for file in model.files}
        report = run(home, fake, creator=name)
        assert stored(home) == wanted
        assert (report.failed, report.gone) == (0, 0)


def test_a_creator_whom_nobody_knows_ends_in_a_sentence(home: str, plain: Fake) -> None:
    report = run(home, plain, creator="nobody_at_all")
    assert report.stopped is not None
    assert "creator" in report.stopped.says
    assert report.stopped.hint


def test_since_a_date_looks_at_no_older_pages(home: str) -> None:
    with serve(generate(450, files=450, oddities=False, tied=1)) as fake:
        newest = max(model.last_version_at or "" for model in fake.catalogue.models.values())
        report = run(home, fake, since=newest[:10], metadata_only=True)
        assert asked(fake) <= 5  # of the ten pages of both lists
        assert 0 < report.models < 210


def test_a_date_that_is_none_is_refused(home: str, plain: Fake) -> None:
    with pytest.raises(BadParameter, match="yesterday"):
        run(home, plain, since="yesterday")


@pytest.mark.parametrize("options", [{"nsfw": "mild"}, {"base": ("sd9",)}, {"limit": -1}, {"downloads": 0}, {"downloads": 33}])
def test_options_without_a_meaning_are_refused_before_anything_is_asked(home: str, plain: Fake, options: dict[str, Any]) -> None:
    with pytest.raises(BadParameter):
        run(home, plain, **options)
    assert plain.log.requests == []


def test_a_limit_leaves_the_rest_to_the_next_run(home: str, plain: Fake) -> None:
    report = run(home, plain, limit=2)
    assert (report.added, report.waiting, len(sent(plain))) == (2, 4, 2)
    report = run(home, plain, limit=3)
    assert (report.added, report.waiting) == (3, 1)
    assert (run(home, plain, limit=3).added, len(stored(home))) == (1, 6)
    assert len(sent(plain)) == 6


def test_metadata_only_remembers_and_fetches_no_file(home: str, plain: Fake) -> None:
    run(home, plain, metadata_only=True)
    assert asked(plain, "/api/download") == 0
    assert stored(home) == set()
    assert len(states(home)) == 6
    again = run(home, plain, metadata_only=True)
    assert (again.added, again.unchanged) == (0, 6)
    assert run(home, plain).added == 6


def everything(home: str) -> dict[str, Any]:
    """The whole database and every file, byte by byte where that can be."""
    tables = [name for (name,) in rows(home, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'words%' AND name NOT LIKE 'sqlite_%'")]
    there = {path.relative_to(home).as_posix() for path in Path(home).rglob("*") if path.is_file() and not path.name.startswith("registry.db")}
    return {"files": there, **{name: rows(home, f"SELECT * FROM [{name}]") for name in tables}}


@pytest.mark.parametrize("before", [False, True], ids=["into an empty registry", "after a run"])
def test_a_dry_run_says_what_would_be_done_and_writes_nothing_at_all(home: str, plain: Fake, before: bool) -> None:
    with Store(home):
        pass
    if before:
        run(home, plain)
        plain.catalogue.change_file(file_of(plain, models(plain)[0]).id, make=lambda id_: tensor_file(id_ + 900))
        plain.faults.vanished = {models(plain)[1]}
    kept = everything(home)
    plain.log.clear()
    report = run(home, plain, dry_run=True)
    assert report.dry_run
    assert (report.added, report.changed) == ((0, 1) if before else (6, 0))
    assert asked(plain, "/api/download") == 0
    assert everything(home) == kept


def test_a_dry_run_counts_as_the_run_after_it(home: str) -> None:
    with serve(generate(70)) as fake:
        fake.catalogue.change_file(odd_file(fake, "wrong_bytes").id, served=None)
        for name in ("login_required", "generation_only"):
            fake.catalogue.take(fake.catalogue.odd[name])
        would = run(home, fake, dry_run=True)
        did = run(home, fake)
        assert (would.added, would.skipped, would.models) == (did.added, did.skipped, did.models)


def test_a_gate_whose_day_has_passed_is_tried(home: str) -> None:
    with serve(of("early_paid", "early_time_frame")) as fake:
        assert run(home, fake).skipped == {"early_access": 2}
        assert asked(fake, "/api/download") == 0
        version = fake.catalogue.models[fake.catalogue.odd["early_paid"]].versions[0]
        fake.catalogue.change_version(version.id, paid_access=PaidAccess(permanent=False, ends_at="2024-02-01T00:00:00.000Z"))
        report = run(home, fake)
        assert (report.added, report.skipped) == (1, {"early_access": 1})


@pytest.mark.parametrize("token", [None, "good"])
def test_a_gate_without_an_end_that_gets_one_is_tried_after_it(home: str, token: str | None) -> None:
    with serve(of("early_pending")) as fake:
        assert run(home, fake, token=token).skipped == {"early_access": 1}
        version = fake.catalogue.models[fake.catalogue.odd["early_pending"]].versions[0]
        fake.catalogue.change_version(version.id, paid_access=None)
        assert run(home, fake, token=token).added == 1


# who stops it


def test_a_bad_token_stops_the_run_before_anything_is_asked(home: str, plain: Fake) -> None:
    report = run(home, plain, token="expired")
    assert report.stopped is not None
    assert (report.stopped.code, asked(plain)) == ("bad_token", 1)
    assert "expired" not in report.stopped.says.replace("has expired", "")


def test_a_blocked_region_stops_the_run_and_counts_nothing_as_failed(home: str, plain: Fake) -> None:
    plain.faults.region_451 = always("/api/download")
    report = run(home, plain)
    assert report.stopped is not None
    assert (report.stopped.code, report.failed) == ("region_blocked", 0)
    assert report.skipped["region_blocked"] + report.waiting == 6
    calm(plain.faults)
    assert run(home, plain).added == 6


def test_without_a_network_the_run_says_so(home: str) -> None:
    with Store(home) as store, Client(Site(origin="http://127.0.0.1:1", private=True), rate=0, sleep=lambda _: None) as client:
        report = sync(store, Blobs(home), client, Options(rate=0), limit=1 << 20, control=Control())
    assert report.stopped is not None
    assert (report.stopped.code, report.added) == ("civitai_unreachable", 0)
    assert "127.0.0.1:1" in report.stopped.ref


def test_a_stopped_run_goes_on_where_it_was(home: str) -> None:
    with serve(generate(8, files=12, oddities=False)) as fake:
        control = Control()
        fake.faults.api_slow, fake.faults.api_seconds = always("/api/download"), 0.1
        report = run(home, fake, control=control, heard=lambda progress: control.stop() if progress.done else None)
        calm(fake.faults)
        assert report.stopped is not None
        assert (report.stopped.code, report.failed) == ("stopped", 0)
        assert 0 < report.added < 12
        assert report.added + report.waiting == 12
        assert run(home, fake).added == 12 - report.added
        assert sorted(sent(fake)) == sorted(fake.catalogue.files)


def test_a_paused_run_waits_until_it_is_resumed(home: str, plain: Fake) -> None:
    control = Control()
    control.pause()
    done: list[SyncReport] = []
    thread = threading.Thread(target=lambda: done.append(run(home, plain, control=control)))
    thread.start()
    time.sleep(0.15)
    assert (plain.log.requests, done) == ([], [])
    control.resume()
    thread.join(20)
    assert done[0].added == 6


def test_many_failures_in_a_row_end_the_run(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embconv.registry.civitai.fetching.MOMENT", 0)
    with serve(generate(40, files=40, oddities=False)) as fake:
        fake.faults.api_slow, fake.faults.api_seconds = always("/api/download"), 0.01
        fake.faults.storage_html_200 = True
        report = run(home, fake)
        assert report.stopped is not None
        assert report.stopped.code == "civitai_unreachable"
        assert report.failed < 40
        assert report.failed + report.waiting == 40
        calm(fake.faults)
        assert run(home, fake).added == 40


def test_a_full_disk_ends_the_run_and_the_next_goes_on(home: str, plain: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    from embconv.registry import spool

    def full(self: Any, number: int, sha256: str, data: bytes) -> str:
        raise spool.trouble(OSError(28, "No space left on device"))

    with monkeypatch.context() as patched:
        patched.setattr(spool.Spool, "put", full)
        report = run(home, plain)
    assert report.stopped is not None
    assert (report.stopped.code, report.added, report.waiting) == ("storage_full", 0, 6)
    assert run(home, plain).added == 6


def test_a_transfer_that_broke_off_is_resumed_at_the_very_byte(home: str, plain: Fake) -> None:
    plain.faults.storage_truncates = first(1, each=True)
    assert run(home, plain).added == 6
    resumed = [seen.headers["range"] for seen in plain.log.of(host="storage") if "range" in seen.headers]
    assert resumed == ["bytes=1000-"] * 6
    assert stored(home) == known_bytes(plain.catalogue)


def test_progress_only_grows_and_ends_done(home: str, plain: Fake) -> None:
    told: list[Progress] = []
    run(home, plain, heard=told.append)
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert [each.requests for each in told] == sorted(each.requests for each in told)
    assert (told[-1].phase, told[-1].done, told[-1].total) == ("done", 6, 6)
    assert list(dict.fromkeys(each.phase for each in told)) == ["listing", "fetching", "done"]
