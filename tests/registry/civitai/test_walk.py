"""Every model is met once, however the lists skip, repeat, stand still or end too soon."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fakes.civitai import Fake, first, generate, serve
from synced import asked, calm, rows, run

from embconv.registry.civitai import walk as walking
from embconv.registry.civitai import wire
from embconv.registry.civitai.client import Client
from embconv.registry.civitai.run import Control
from embconv.registry.civitai.site import Site
from embconv.registry.civitai.walk import NEWEST, OLDEST, Narrowed, Pass, Place, full, news, step, walk
from embconv.registry.store import Store

if TYPE_CHECKING:
    from fakes.civitai_catalogue import Catalogue

Sets = dict[str, Callable[[], Any]]

def every_second() -> Callable[[Any], bool]:
    turns = itertools.count()
    return lambda seen: next(turns) % 2 == 0


# switches that lie for some pages, so that a walk can still see everything
PAGING: dict[str, Sets] = {
    "nothing": {},
    "page_short": {"page_short": lambda: True},
    "page_short_at_times": {"page_short": lambda: lambda seen: int((seen.one("cursor") or "0")[-1]) % 2 == 0},
    "page_empty_with_cursor": {"page_empty_with_cursor": every_second},
    "page_empty_often": {"page_empty_with_cursor": lambda: 20},
    "cursor_number": {"cursor_number": lambda: True},
    "cursor_stuck_in_oldest": {"cursor_stuck": lambda: lambda seen: seen.one("sort") == OLDEST},
    "cursor_stuck_later_in_oldest": {"cursor_stuck": lambda: lambda seen: seen.one("sort") == OLDEST and seen.one("cursor") is not None},
    "cursor_endless_in_oldest": {"cursor_endless": lambda: lambda seen: seen.one("sort") == OLDEST},
    "next_page_other_host": {"next_page_other_host": lambda: True},
    "search_503": {"search_503": lambda: first(1, each=True)},
    "short_and_empty_and_numbers": {"page_short": lambda: True, "page_empty_with_cursor": every_second, "cursor_number": lambda: True},
}


@pytest.fixture(scope="module")
def tied() -> Iterator[Fake]:
    """300 models of which 150 share each moment: Oldest stands still at 100 a page."""
    with serve(generate(300, (1, 1), tied=150, oddities=False)) as fake:
        yield fake


@pytest.fixture(scope="module")
def apart() -> Iterator[Fake]:
    """250 models, seven of which share each moment: Oldest walks through."""
    with serve(generate(250, (1, 1), oddities=False)) as fake:
        yield fake


@pytest.mark.parametrize("switches", PAGING.values(), ids=PAGING)
@pytest.mark.parametrize("which", ["tied", "apart"])
def test_no_model_is_missed_and_none_is_twice(which: str, switches: Sets, request: pytest.FixtureRequest, home: str) -> None:
    fake = request.getfixturevalue(which)
    for name, make in switches.items():
        setattr(fake.faults, name, make())
    fake.log.clear()
    try:
        report = run(home, fake, metadata_only=True)
    finally:
        calm(fake.faults)
    assert (report.failed, report.stopped) == (0, None)
    check_all_met(home, fake.catalogue)
    assert report.models == len(fake.catalogue.models)


def check_all_met(home: str, catalogue: Catalogue) -> None:
    """What the database has is what a list may show, each once."""
    shown = {model.id for model in catalogue.models.values() if listed(model)}
    assert [id_ for (id_,) in rows(home, "SELECT id FROM civitai_models ORDER BY id")] == sorted(shown)
    assert rows(home, "SELECT count(*), count(DISTINCT id) FROM civitai_models") == [(len(shown), len(shown))]


def listed(model: Any) -> bool:
    """By contract 1.1: is it in one of the two lists?"""
    seen = model.nsfw_level & 31 and (not model.minor or model.nsfw_level & 1)
    versions = [version for version in model.versions if version.status == "Published" and version.availability == "Public" and version.files]
    return bool(seen and model.type == "TextualInversion" and model.status == "Published" and model.availability == "Public" and not model.poi and versions)


@pytest.mark.parametrize("tied", [1, 7, 99, 100, 101, 150, 400])
@pytest.mark.parametrize("count", [99, 100, 101, 200, 201, 330])
def test_everything_odd_is_met_whatever_shares_a_moment(home: str, tied: int, count: int) -> None:
    """With models that have no moment at all, which stand behind all others."""
    with serve(generate(count, (1, 1), tied=tied)) as fake:
        report = run(home, fake, metadata_only=True)
        assert (report.failed, report.stopped) == (0, None)
        check_all_met(home, fake.catalogue)


def test_more_models_without_a_moment_than_a_page_holds_are_all_met(home: str) -> None:
    catalogue = generate(420, (1, 1), oddities=False, tied=3)
    for id_ in sorted(catalogue.models)[::2]:
        catalogue.change_model(id_, last_version_at=None)
    with serve(catalogue) as fake:
        run(home, fake, metadata_only=True)
        check_all_met(home, catalogue)


def test_models_without_a_moment_are_met_where_oldest_stands_still_before_them(home: str) -> None:
    catalogue = generate(420, (1, 1), oddities=False, tied=150)
    for id_ in sorted(catalogue.models)[::4]:
        catalogue.change_model(id_, last_version_at=None)
    with serve(catalogue) as fake:
        run(home, fake, metadata_only=True)
        check_all_met(home, catalogue)


def test_three_thousand_models_cost_little_more_than_they_must(home: str) -> None:
    """With 5,000 files the fewest requests are 5,060; a tenth of them may come on top: issue 4, section 2."""
    with serve(generate(3000, files=5000, tied=150, oddities=False)) as fake:
        for name, make in PAGING["short_and_empty_and_numbers"].items():
            setattr(fake.faults, name, make())
        report = run(home, fake, metadata_only=True)
        assert (report.models, report.failed) == (3000, 0)
        assert len(rows(home, "SELECT id FROM civitai_files")) == 5000
        assert asked(fake) + 5000 <= 1.1 * 5060
        check_all_met(home, fake.catalogue)


@pytest.mark.parametrize("new", [1, 99, 100, 101, 205])
def test_news_are_met_past_the_borders_of_pages(home: str, new: int) -> None:
    with serve(generate(120, (1, 1), oddities=False)) as fake:
        run(home, fake, metadata_only=True)
        more = generate(120 + new, (1, 1), oddities=False)
        for id_ in sorted(more.models)[120:]:
            fake.catalogue.put(more.models[id_])
        fake.log.clear()
        assert run(home, fake, metadata_only=True).models >= new
        check_all_met(home, fake.catalogue)
        assert asked(fake) <= 3 * (new // 100 + 2)


def test_a_list_that_stands_still_for_ever_is_said_and_walked_again(home: str) -> None:
    with serve(generate(420, (1, 1), oddities=False)) as fake:
        fake.faults.cursor_stuck = True
        report = run(home, fake, metadata_only=True)
        assert report.failed == 1
        assert "circles" in report.troubles[0].says
        assert report.troubles[0].hint
        assert asked(fake) < 30
        calm(fake.faults)
        assert run(home, fake, metadata_only=True).failed == 0
        check_all_met(home, fake.catalogue)


def test_endless_empty_pages_are_left_after_a_while(home: str) -> None:
    with serve(generate(20, (1, 1), oddities=False)) as fake:
        fake.faults.cursor_endless = True
        run(home, fake, metadata_only=True)
        assert asked(fake) <= 6 * walking.EMPTY + 10


def test_a_walk_that_was_stopped_goes_on_at_its_page(home: str) -> None:
    with serve(generate(450, (1, 1), oddities=False)) as fake:
        control = Control()
        report = run(home, fake, control=control, metadata_only=True, heard=lambda progress: control.stop() if progress.pages == 2 else None)
        assert report.stopped is not None
        seen = asked(fake)
        run(home, fake, metadata_only=True)
        assert asked(fake) == 10  # five pages of each list, none twice
        assert seen == 2
        check_all_met(home, fake.catalogue)


def test_a_changing_list_loses_no_model_that_was_there_throughout(home: str) -> None:
    """While it is walked others are added before and after the place."""
    with serve(generate(450, (1, 1), oddities=False, tied=1)) as fake:
        there = set(fake.catalogue.models)
        more = generate(480, (1, 1), oddities=False, tied=1)
        late = iter(sorted(set(more.models) - there))

        def heard(progress: Any) -> None:
            if progress.phase == "listing" and (id_ := next(late, None)):
                fake.catalogue.put(more.models[id_])
                fake.catalogue.change_model(min(fake.catalogue.models), last_version_at=more.models[id_].last_version_at)

        run(home, fake, metadata_only=True, heard=heard)
        run(home, fake, metadata_only=True)
        check_all_met(home, fake.catalogue)


def test_what_a_filter_lets_in_by_mistake_is_not_kept(home: str) -> None:
    """Civitai drops parameters that it does not know without a word."""
    catalogue = generate(70)
    with serve(catalogue) as fake, Store(home):
        site = Site(origin=fake.api_url, private=True)
        with Client(site, rate=0) as client:
            page = client.models([("limit", "100"), ("archived", "true"), ("nsfw", "true")])
        kinds = {wire.model(item).model.type for item in page.items}
        models, _ = walking.read(page)
        assert len(kinds) > 1
        assert {model.model.type for model in models} == {"TextualInversion"}


# one step


def page(*ids: int, cursor: str | None = None) -> tuple[wire.Listed, list[wire.HeardModel]]:
    items = tuple(msgspec.Raw(msgspec.json.encode({"id": id_, "type": "TextualInversion"})) for id_ in ids)
    return wire.Listed(items=items, cursor=cursor), [wire.model(item) for item in items]


def stepped(place: Place, *ids: int, cursor: str | None = None, count: int = 1, stuck: bool = False) -> Place:
    return step(place, *page(*ids, cursor=cursor), count, stuck=stuck)


ALL = Narrowed()


def test_a_full_walk_begins_with_the_oldest_of_both_lists() -> None:
    assert [(one.sort, one.nsfw) for one in full(1, ALL).passes] == [(OLDEST, True), (OLDEST, False)]


def test_a_search_has_no_order_of_its_own() -> None:
    assert {one.sort for one in full(1, Narrowed(query="ink")).passes} == {""}


def test_the_last_page_leads_to_the_next_list() -> None:
    place = stepped(full(1, ALL), 1, 2)
    assert (place.at, place.cursor, place.whole) == (1, None, True)


def test_a_page_with_a_cursor_leads_to_the_next_page() -> None:
    place = stepped(full(1, ALL), 1, 2, cursor="a|3")
    assert (place.at, place.cursor, place.pages) == (0, "a|3", 1)


def test_where_oldest_stands_still_newest_is_walked_too() -> None:
    place = stepped(full(1, ALL), 1, 2, cursor="a|3", stuck=True)
    assert place.passes[place.at].sort == NEWEST
    assert place.whole


def test_news_end_at_a_page_without_any() -> None:
    assert stepped(news(1), 1, 2, cursor="a|3", count=0).at == 1
    assert stepped(news(1), 1, 2, cursor="a|3", count=1).at == 0


def test_news_do_not_end_at_an_empty_page() -> None:
    assert stepped(news(1), cursor="a|3", count=0).at == 0


def test_the_model_that_newest_loses_at_a_border_is_in_its_cursor() -> None:
    place = stepped(news(1), 1, 2, cursor="2026-08-11 21:25:04.626|2851602")
    assert place.lost == ((True, 2851602),)


@pytest.mark.parametrize("cursor", ["opaque", "2026-08-11|", "2026|0", "2026|99999999999", "2026|2147483648"])
def test_a_border_that_does_not_say_which_is_walked_again_with_pages_of_another_size(cursor: str) -> None:
    place = stepped(news(1), 1, 2, cursor=cursor)
    assert (place.lost, place.blind) == ((), True)
    place = stepped(place, 3)
    assert (place.passes[place.at].limit, place.blind) == (walking.OTHER, False)


def test_a_walk_since_a_date_ends_at_a_page_of_older_ones() -> None:
    old = msgspec.Raw(msgspec.json.encode({"id": 1, "modelVersions": [{"id": 2, "publishedAt": "2024-01-01T00:00:00.000Z"}]}))
    place = news(1, "2025-01-01T00:00:00+00:00")
    listed_ = wire.Listed(items=(old,), cursor="a|3")
    assert step(place, listed_, [wire.model(old)], 1, stuck=False).at == 1
    assert step(news(1, "2023-01-01T00:00:00+00:00"), listed_, [wire.model(old)], 1, stuck=False).at == 0


def test_a_place_outlives_the_process() -> None:
    place = stepped(news(3, "2025-01-01"), 1, cursor="x|7")
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(place))), Place) == place


def test_the_last_list_ends_the_walk() -> None:
    place = Place(walk=1, full=True, passes=(Pass(sort=OLDEST, nsfw=True),))
    assert stepped(place, 1).ended


def test_the_walk_is_checked_before_each_page() -> None:
    class Halt(Exception):
        pass

    def check() -> None:
        raise Halt

    def take(place: Place, models: Sequence[wire.HeardModel], odd: Sequence[str], after_: Callable[[int], Place]) -> Place:
        raise AssertionError("asked for")

    with Client(Site(origin="http://127.0.0.1:1", private=True), rate=0, sleep=lambda _: None) as client, pytest.raises(Halt):
        walk(client, full(1, ALL), ALL, take, check)
