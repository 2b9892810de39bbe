from __future__ import annotations

import base64
import itertools
import random
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searched import add, arrival, change, counted, entries, expected, ids_of, moment, random_query

from embconv.converters import Names
from embconv.registry import answers, columns, fields, orders
from embconv.registry import search as searching
from embconv.registry.columns import Columns
from embconv.registry.errors import BadParameter
from embconv.registry.model import Origin
from embconv.registry.query import Query, query_of
from embconv.registry.search import page, search
from embconv.registry.store import Store, arrive, remove

BASE = "http://127.0.0.1:8765/v1/embeddings"


@pytest.fixture(params=["as it is", "few", "many"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches go other ways for few rows and for many, and where answers are dear; the same must come of each."""
    if request.param == "as it is":
        return
    many = request.param == "many"
    for module in (fields, answers):
        monkeypatch.setattr(module, "MANY", 1_000_000 if many else 0)
    monkeypatch.setattr(answers, "DEAR", -1.0 if many else 1e9)
    monkeypatch.setattr(columns, "FEW", 0 if many else 1_000_000)
    monkeypatch.setattr(searching, "NARROW", 0 if many else 1_000_000)
    monkeypatch.setattr(searching, "STEP", 3)
    monkeypatch.setattr(orders, "STEP", 2)
    monkeypatch.setattr(orders, "TOUCHED", 10)


def all_pages(store: Store, held: Columns, query: Query, limit: int) -> list[int]:
    found: list[int] = []
    cursor = None
    for _ in range(1_000):
        each = search(store, held, msgspec.structs.replace(query, limit=limit, cursor=cursor))
        found += ids_of(store, each.items)
        cursor = each.cursor
        if cursor is None:
            return found
        assert len(each.items) == limit
    raise AssertionError("it never ends")


@pytest.mark.parametrize("seed", range(4))
def test_searches_agree_with_plain_python(ways: None, store: Store, seed: int) -> None:
    dice = random.Random(seed)
    held, seeds = Columns(store), itertools.count()
    for _ in range(14):
        add(store, [next(seeds) for _ in range(dice.randint(1, 12))], dice)
        for _ in range(dice.randint(0, 5)):
            change(store, dice)
        if dice.random() < 0.3:  # the same again: what was removed comes back, what is here gains a file
            add(store, [dice.randrange(10)], dice)
        for _ in range(12):
            pairs = random_query(dice)
            query = query_of(pairs)
            wanted = expected(store, query)
            found = search(store, held, msgspec.structs.replace(query, limit=200))
            assert ids_of(store, found.items) == wanted, pairs
            assert found.total == len(wanted)
            assert all_pages(store, held, query, dice.randint(1, 7)) == wanted, pairs
            for field in query.facets:
                counts = counted(store, wanted, field)
                facet = found.facets[field]
                assert {each.value: each.count for each in facet.results if each.count} == dict(counts), (pairs, field)
                selected = {each.value.casefold() for each in facet.results if each.selected}
                assert selected == set(query.filters.get(field, ())), (pairs, field)
                assert facet.truncated is False


@pytest.mark.parametrize("seed", range(3))
def test_pages_neither_repeat_nor_skip_while_others_write(ways: None, store: Store, seed: int) -> None:
    dice = random.Random(seed)
    held, seeds = Columns(store), itertools.count()
    for _ in range(15):
        add(store, [next(seeds) for _ in range(8)], dice)
        query = query_of(random_query(dice))
        before, touched = entries(store), set()
        seen: list[int] = []
        cursor = None
        while True:
            found = search(store, held, msgspec.structs.replace(query, limit=3, cursor=cursor))
            seen += ids_of(store, found.items)
            cursor = found.cursor
            if cursor is None:
                break
            add(store, [next(seeds)], dice)
            change(store, dice)
            now = entries(store)
            touched |= {id_ for id_, entry in before.items() if now.get(id_) != entry}
        quiet = [id_ for id_ in seen if id_ not in touched and id_ in before]
        assert len(set(quiet)) == len(quiet)
        wanted = {id_ for id_ in expected(store, query) if id_ not in touched and id_ in before}
        assert wanted <= set(seen)


def test_another_process_s_writes_are_found(store: Store, home: str) -> None:
    dice = random.Random(0)
    held = Columns(store)
    with Store(home) as other:
        for seed in range(5):
            add(other, [seed], dice)
            assert search(store, held, query_of([])).total == seed + 1
        for id_ in list(entries(store)):
            other.write(lambda db, id_=id_: remove(db, id_))
            assert id_ not in ids_of(store, search(store, held, query_of([])).items)
    assert search(store, held, query_of([("q", "red"), ("facet", "tag")])).total == 0


def test_threads_find_what_was_acknowledged_before_they_asked(store: Store) -> None:
    held = Columns(store)
    wrong: list[str] = []
    until = time.monotonic() + 3

    def work(place: int) -> None:
        dice = random.Random(place)
        for number in itertools.count():
            if time.monotonic() > until:
                return
            name = f"thread{place}number{number}"
            one = arrival(place * 1_000_000 + number, dice)
            store.write(lambda db, one=one, name=name: arrive(db, [msgspec.structs.replace(one, name=name)], moment(dice)))
            found = search(store, held, query_of([("q", name), ("facet", "base")]))
            if found.total != 1 or found.facets["base"].results[0].count != 1:
                wrong.append(name)
            listing = search(store, held, query_of([("sort", "downloads"), ("facet", "tag"), ("limit", "200")]))
            if listing.total < number + 1 or len({bytes(item) for item in listing.items}) != min(listing.total, 200):
                wrong.append(f"listing after {name}")

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


# relevance


def filled(store: Store, names: dict[str, dict[str, object]]) -> None:
    """Embeddings that are called so, with claims of theirs."""
    dice = random.Random(0)
    for seed, (name, claims) in enumerate(names.items()):
        origin = Origin(source="civitai", seen=moment(dice), claims=claims)
        one = msgspec.structs.replace(arrival(seed, dice), name=name, tags=(), origin=origin)
        embedding = msgspec.structs.replace(one.prepared.embeddings[0], trigger=name, names=Names())
        prepared = msgspec.structs.replace(one.prepared, embeddings=(embedding,), name="file.pt")
        store.write(lambda db, one=one, prepared=prepared: arrive(db, [msgspec.structs.replace(one, prepared=prepared)], moment(dice)))


def names_found(store: Store, *pairs: tuple[str, str]) -> list[str]:
    return [msgspec.json.decode(item)["name"] for item in search(store, Columns(store), query_of(pairs)).items]


def test_the_name_counts_more_than_what_is_said_and_that_more_than_what_is_told_at_length(store: Store) -> None:
    filled(store, {
        "told": {"description": "an easy negative for all", "downloads": 9_000_000},
        "tagged": {"creator": "Negative", "tags": ["easy"], "downloads": 500},
        "VeryEasyNegative": {"downloads": 10},
        "EasyNegativeV2": {"downloads": 1},
        "easynegative": {},
        "EasyNegative3": {"downloads": 7},
        "other": {},
    })  # fmt: skip
    assert names_found(store, ("q", "EasyNegative")) == ["easynegative", "EasyNegative3", "EasyNegativeV2", "VeryEasyNegative", "told"]
    assert names_found(store, ("q", "easy negative")) == ["VeryEasyNegative", "EasyNegative3", "EasyNegativeV2", "tagged", "told"]
    assert names_found(store, ("q", "easy neg"), ("sort", "-relevance"))[0] == "told"
    assert names_found(store, ("q", "easy negative"), ("sort", "downloads"))[0] == "told"


# facets


def test_a_facet_lists_the_twenty_commonest_and_all_that_are_asked_for(store: Store) -> None:
    filled(store, {f"name{number}": {"creator": f"c{number % 30:02}", "tags": ["all"]} for number in range(45)})
    held = Columns(store)
    facet = search(store, held, query_of([("facet", "creator")])).facets["creator"]
    assert [(each.value, each.count) for each in facet.results] == [(f"c{number:02}", 2) for number in range(15)] + [
        (f"c{number:02}", 1) for number in range(15, 20)
    ]
    assert facet.truncated
    asked = search(store, held, query_of([("facet", "creator"), ("creator", "C29"), ("creator", "nobody"), ("facet", "tag")])).facets
    assert [(each.value, each.count, each.selected) for each in asked["creator"].results] == [("c29", 1, True), ("nobody", 0, True)]
    assert [(each.value, each.count, each.selected) for each in asked["tag"].results] == [("all", 1, False)]


def test_a_page_links_to_the_next_and_to_each_facet_turned(store: Store) -> None:
    filled(store, {f"name{number}": {"creator": "Ann", "tags": ["a b"]} for number in range(5)})
    pairs = [("q", "name"), ("creator", "ann"), ("limit", "2"), ("facet", "creator"), ("facet", "tag")]
    held = Columns(store)
    first = page(store, held, query_of(pairs), BASE, pairs)
    assert first.facets["creator"].results[0].toggle_url == f"{BASE}?q=name&limit=2&facet=creator&facet=tag"
    assert first.facets["tag"].results[0].toggle_url == f"{BASE}?q=name&creator=ann&limit=2&facet=creator&facet=tag&tag=a+b"
    assert first.next is not None
    assert first.next.startswith(f"{BASE}?q=name&creator=ann&limit=2&facet=creator&facet=tag&cursor=")
    more = [*pairs, ("cursor", first.next.rpartition("=")[2])]
    second = page(store, held, query_of(more), BASE, more)
    assert second.total == first.total == 5
    assert not {bytes(item) for item in first.items} & {bytes(item) for item in second.items}
    assert "cursor" not in second.facets["tag"].results[0].toggle_url
    assert (second.next or "").count("cursor=") == 1
    assert msgspec.json.decode(msgspec.json.encode(second))["items"][0]["creators"] == ["Ann"]


# cursors


def test_a_cursor_of_another_search_is_refused(store: Store) -> None:
    filled(store, {f"name{number}": {} for number in range(4)})
    held = Columns(store)
    cursor = search(store, held, query_of([("limit", "2")])).cursor
    assert cursor is not None
    for pairs in ([("q", "name")], [("sort", "name")], [("sort", "-added")], [("base", "sd1")]):
        with pytest.raises(BadParameter, match="another list"):
            search(store, held, query_of([*pairs, ("cursor", cursor)]))
    assert len(search(store, held, query_of([("limit", "1"), ("facet", "base"), ("cursor", cursor)])).items) == 1


def forged(*parts: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


@pytest.mark.parametrize("sort", ["added", "name", "relevance"])
@pytest.mark.parametrize(
    "cursor",
    ["x", "====", "é", "\ud800", "\0", "A" * 3_999, forged(), forged("x"), forged("", []), forged("", [1, 2]), forged("", [1e300, 1]),
     forged("", ["a", 1 << 70]), forged("", [None, 1]), "W" * 3_000, forged("00", {"a": 1}), base64.urlsafe_b64encode(b"[" * 2_000).decode()],
)  # fmt: skip
def test_a_cursor_that_nobody_gave_is_refused(store: Store, sort: str, cursor: str) -> None:
    with pytest.raises(BadParameter):
        search(store, Columns(store), query_of([("q", "cat"), ("sort", sort), ("cursor", cursor)]))


@pytest.mark.parametrize("key", [[1 << 62, 1 << 62], [-(1 << 62), -5], [0, 0]])
def test_a_forged_place_of_the_right_search_is_a_place(store: Store, key: list[int]) -> None:
    filled(store, {f"name{number}": {} for number in range(4)})
    query = query_of([])
    cursor = forged(searching.mark(query), key)
    assert search(store, Columns(store), msgspec.structs.replace(query, cursor=cursor)).total == 4


# hostile text; threats H11


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Columns]]:
    with Store(str(tmp_path_factory.mktemp("stocked"))) as opened:
        add(opened, range(300), random.Random(1))
        yield opened, Columns(opened)


HOSTILE = [
    '"', '""', '"""', '"a', 'a"b"c', "*", "a*", "* *", "NEAR(", "NEAR(a b, 2)", "AND", "OR", "NOT", "a AND", "AND AND AND",
    "a OR b NOT c", "(", ")", "((((", "a:b", "name:cat", "{name trigger}:cat", "^cat", "a + b", "-cat", "- {name} : cat", "\0", "a\0b", "\ud800",
    "\udfff\ud800",
    "🙂", "👩‍👩‍👧‍👦 family", "'; DROP TABLE words; --", "%", "_", "\\", "a" * 1000, "a " * 500, "\u0301" * 900, "初" * 1000,
    "\u202e cat", "ﷺ" * 55,
    " ".join(chr(0x4E00 + number) for number in range(500)), " ".join(f"w{number}" for number in range(200)), '"' * 1000,
    "aB" * 500, "a1" * 500,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_only_text(stocked: tuple[Store, Columns], text: str) -> None:
    store, held = stocked
    held.refresh()
    start = time.thread_time()
    search(store, held, query_of([("q", text), ("facet", "tag"), ("creator", text[:200].strip() or "x")]))
    assert time.thread_time() - start < 0.1


def test_a_megabyte_of_text_is_refused(stocked: tuple[Store, Columns]) -> None:
    with pytest.raises(BadParameter):
        query_of([("q", "a " * 500_000)])


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet=st.characters(), max_size=50), st.sampled_from(["relevance", "-relevance", "name", "added"]))
def test_any_text_is_answered(stocked: tuple[Store, Columns], text: str, sort: str) -> None:
    store, held = stocked
    found = search(store, held, query_of([("q", text), ("sort", sort)]))
    assert found.total >= len(found.items)


@pytest.mark.parametrize("field", ["base", "encoder", "role", "verdict", "layout", "creator", "tag", "licence", "nsfw", "origin", "vectors"])
def test_a_filter_finds_nothing_where_nothing_is(store: Store, field: str) -> None:
    value = {"base": "sd1", "encoder": "clip_l", "role": "negative", "verdict": "pass", "layout": "a1111", "nsfw": "pg", "vectors": "2.."}
    found = search(store, Columns(store), query_of([(field, value.get(field, "any")), ("facet", "base")]))
    assert (found.total, found.items) == (0, [])
