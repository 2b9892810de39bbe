from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from searched import add, entries

from embconv.registry import answers, columns
from embconv.registry.answers import Answers
from embconv.registry.columns import Columns, milliseconds
from embconv.registry.fields import Lists, Sets, as_mask, as_rows, common
from embconv.registry.orders import Order, first
from embconv.registry.query import query_of
from embconv.registry.search import search
from embconv.registry.store import Store, edit, remove
from embconv.registry.turns import Row, Turns
from embconv.registry.words import spoken

ids = st.lists(st.integers(1, 60), unique=True).map(sorted)


def rows(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32)


@given(ids, ids, st.sampled_from(["rows", "mask"]), st.sampled_from(["rows", "mask"]))
def test_common_is_what_is_in_both_however_they_come(some: list[int], others: list[int], one: str, other: str) -> None:
    left = rows(some) if one == "rows" else as_mask(rows(some), 61)
    right = rows(others) if other == "rows" else as_mask(rows(others), max(others, default=0) + 1)
    assert as_rows(common(left, right)).tolist() == sorted({*some} & {*others})


PLACES = st.none() | st.tuples(st.integers(-1, 6), st.integers(0, 60))


@given(st.lists(st.integers(0, 5), min_size=60, max_size=60), ids, st.integers(1, 20), PLACES, st.booleans(), ids)
def test_the_first_of_an_order_are_those_that_sorting_gives(
    keys: list[int], wanted: list[int], count: int, after: tuple[int, int] | None, descending: bool, changed: list[int]
) -> None:
    of, alive = np.array([0, *keys], np.int64), as_mask(rows(list(range(1, 61))), 61)
    order = Order()
    order.first(of, alive, alive.copy(), 1, None, descending=descending)
    for id_ in changed:  # an order that was made before is still good
        of[id_] = (of[id_] + 3) % 6
    order.touch(rows(changed))
    places = sorted(((int(of[id_]), id_) for id_ in wanted), reverse=descending)
    beyond = [place for place in places if after is None or (place < after if descending else place > after)]
    expected = [id_ for _, id_ in beyond[:count]]
    assert order.first(of, alive, as_mask(rows(wanted), 61), count, after, descending=descending).tolist() == expected
    assert first(of, rows(wanted), count, after, descending=descending).tolist() == expected


VALUES = st.lists(st.tuples(st.integers(1, 30), st.lists(st.sampled_from("abcdef"), unique=True).map(tuple)), max_size=40)


@given(st.lists(VALUES, max_size=5), ids, st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=3))
def test_values_are_counted_and_found_as_they_were_set_last(batches: list, asked: list[int], wanted: list[str]) -> None:
    sets, lists, held = Sets(str, tuple), Lists(str), dict.fromkeys(range(1, 61), ())
    for field in (sets, lists):
        field.put(rows(list(range(1, 61))), ["" if field is sets else ()] * 60, 61)
    for batch in batches:
        now = dict(batch)
        sets.put(rows(list(now)), ["".join(each) for each in now.values()], 61)
        lists.put(rows(list(now)), list(now.values()), 61)
        held |= now
    for some in (rows(asked), as_mask(rows(asked), 61)):
        counts = {value: sum(value in held[id_] for id_ in asked) for value in "abcdef"}
        for field in (sets, lists):
            found = dict(zip(field.words.values, field.count(some).tolist(), strict=True))
            assert {value: found.get(value, 0) for value in counts} == counts
        every = [id_ for id_ in asked if {*wanted} <= {*held[id_]}]
        either = [id_ for id_ in asked if {*wanted} & {*held[id_]}]
        assert as_rows(lists.having(some, wanted)).tolist() == every
        assert as_rows(sets.having(some, wanted, all_of=True)).tolist() == every
        assert as_rows(sets.having(some, wanted, all_of=False)).tolist() == either
        assert as_rows(sets.empty(some, wanted=True)).tolist() == [id_ for id_ in asked if not held[id_]]
        assert as_rows(sets.empty(some, wanted=False)).tolist() == [id_ for id_ in asked if held[id_]]


def test_lists_that_change_for_ever_do_not_grow_for_ever() -> None:
    lists = Lists(str)
    for number in range(3_000):
        lists.put(rows([1 + number % 50]), [tuple("abcd")], 51)
    assert len(lists._pool) < 5_000
    assert lists.count(rows(list(range(1, 51)))).tolist() == [50] * 4


def test_answers_take_no_more_room_than_they_may(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, range(40), random.Random(0))
    monkeypatch.setattr(answers, "ROOM", 5_000)
    held = Answers()
    for text in ("red", "cat", "dog", "sky", "night", "style", "knight", "x") * 3:
        asked = spoken(text)
        assert asked is not None
        held.spoken(store.read, asked, "", 1)
        held.called(store.read, text, 1)
    assert 0 < held._bytes <= 5_000
    assert held._bytes == sum(map(answers.size_of, held._kept.values()))


@pytest.mark.parametrize("dear", [-1.0, 1e9])
def test_a_kept_answer_is_as_new_as_what_was_acknowledged(store: Store, monkeypatch: pytest.MonkeyPatch, dear: float) -> None:
    monkeypatch.setattr(answers, "DEAR", dear)
    add(store, range(30), random.Random(0))
    held = Columns(store)

    def total(q: str) -> int:
        return search(store, held, query_of([("q", q), ("facet", "role")])).total

    assert total("zebra") == 0
    before = total("red")
    some = sorted(entries(store))[:20]
    for number, id_ in enumerate(some):
        store.write(lambda db, id_=id_: edit(db, id_, {"notes": "a Zebra"}))
        assert total("zebra") == total("zeb") == number + 1
    for number, id_ in enumerate(some):
        store.write(lambda db, id_=id_: remove(db, id_))
        assert total("zebra") == total("zeb") == 19 - number
    assert total("red") <= before


def test_changes_are_forgotten_only_with_the_answers_they_concern(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "CHANGES", 6)
    monkeypatch.setattr(answers, "DEAR", -1.0)
    add(store, range(10), random.Random(0))
    held = Columns(store)
    for round_ in range(6):
        for id_ in sorted(entries(store)):
            store.write(lambda db, id_=id_, round_=round_: edit(db, id_, {"notes": f"round{round_}"}))
            held.refresh()
        assert search(store, held, query_of([("q", f"round{round_}")])).total == 10
        assert search(store, held, query_of([("q", f"round{round_ - 1}")])).total == 0


def test_columns_that_could_not_be_loaded_are_loaded_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, range(30), random.Random(0))
    held = Columns(store)
    monkeypatch.setattr(columns, "BATCH", 7)
    whole, calls = columns.facts_above, iter([True, True, False])

    def failing(*given: object) -> list:
        if next(calls, True):
            return whole(*given)
        raise OSError("the disk")

    monkeypatch.setattr(columns, "facts_above", failing)
    with pytest.raises(OSError, match="the disk"):
        held.refresh()
    assert search(store, held, query_of([("facet", "tag")])).total == 30
    assert held.bytes() > 0


def test_warming_asks_for_what_names_begin_with(store: Store) -> None:
    add(store, range(30), random.Random(0))
    held = Columns(store)
    held.warm()
    asked = {question for _, question in held.answers._kept}
    assert {'"r"*', '"re"*', '"д"*'} <= asked


def test_warming_ends_where_it_is_told_to(store: Store) -> None:
    add(store, range(30), random.Random(0))
    held = Columns(store)
    held.stop()
    held.warm()
    assert not held.answers._kept
    assert search(store, held, query_of([("q", "re")])).total


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1970-01-01T00:00:01.500Z", 1500), ("2026-11-26T12:34:56.789Z", 1795696496789), ("2026-11-26T12:34:56.789+00:00", 1795696496789)],
)
def test_times_are_numbers(text: str, expected: int) -> None:
    assert milliseconds([text, "1970-01-01T00:00:00.000Z"]) == [expected, 0]


# turns


def test_nobody_looks_while_one_changes() -> None:
    turns, inside, wrong = Turns(), [0, 0], []
    until = time.monotonic() + 0.5

    def look() -> None:
        while time.monotonic() < until:
            with turns.looking():
                inside[0] += 1
                wrong.extend(["changing"] * inside[1])
                inside[0] -= 1

    def change() -> None:
        while time.monotonic() < until:
            with turns.changing():
                inside[1] += 1
                wrong.extend(["another"] * (inside[1] != 1))
                time.sleep(0.0001)
                inside[1] -= 1

    together(look, look, look, change, change)
    assert wrong == []


def together(*works: object) -> None:
    threads = [threading.Thread(target=work) for work in works]  # type: ignore[arg-type]  # functions
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_a_row_lets_in_so_many_and_the_first_first() -> None:
    row, order, inside, most = Row(2), [], [0], [0]
    gates = [threading.Event() for _ in range(6)]

    def work(place: int) -> None:
        with row:
            order.append(place)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            gates[place].wait(10)
            inside[0] -= 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(6)]
    for place, thread in enumerate(threads):
        thread.start()
        until = time.monotonic() + 10
        while len(order) + len(row._waiting) <= place and time.monotonic() < until:
            time.sleep(0.001)
    for place, gate in enumerate(gates):
        gate.set()
        threads[place].join(10)
        until = time.monotonic() + 10
        while len(order) < min(place + 3, 6) and time.monotonic() < until:  # one leaves, one comes in
            time.sleep(0.001)
    assert order == [0, 1, 2, 3, 4, 5]
    assert most == [2]
    assert row._free == 2


def test_a_row_gives_a_place_back_after_an_error() -> None:
    row = Row(1)
    with pytest.raises(ValueError, match="x"), row:
        raise ValueError("x")
    assert row._free == 1
