"""Work that comes at the same time is done together, and each caller gets his own answer."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from embconv.registry.batches import Batches


class Doubling:
    """Work whose first batch has begun, and then waits until it may go on."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.begun, self.may = threading.Event(), threading.Event()

    def __call__(self, items: list[int]) -> list[int | Exception]:
        self.seen.append(items)
        self.begun.set()
        assert self.may.wait(10)
        return [ValueError(str(item)) if item < 0 else 2 * item for item in items]


def test_what_comes_while_one_batch_is_done_is_the_next() -> None:
    work = Doubling()

    async def run() -> list[int]:
        with ThreadPoolExecutor(2) as threads:
            batches = Batches[int, int](threads, work, most=4, at_once=1)
            tasks = [asyncio.create_task(batches.do(item)) for item in range(8)]
            await asyncio.to_thread(work.begun.wait, 10)
            work.may.set()
            return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert [len(batch) for batch in work.seen] in ([1, 4, 3], [4, 4])
    assert [item for batch in work.seen for item in batch] == list(range(8))


def test_an_error_is_raised_where_its_item_came_from() -> None:
    work = Doubling()
    work.may.set()

    async def run() -> list[int | BaseException]:
        with ThreadPoolExecutor(2) as threads:
            batches = Batches[int, int](threads, work, most=4, at_once=1)
            return await asyncio.gather(*map(batches.do, (1, -2, 3)), return_exceptions=True)

    one, two, three = asyncio.run(run())
    assert (one, three) == (2, 6)
    assert isinstance(two, ValueError)


def test_where_all_of_it_fails_everybody_hears_of_it_and_the_next_is_done() -> None:
    failing = [True]

    def work(items: list[int]) -> list[int | Exception]:
        if failing.pop() if failing else False:
            raise MemoryError
        return list(items)

    async def run() -> None:
        with ThreadPoolExecutor(2) as threads:
            batches = Batches[int, int](threads, work, most=4, at_once=2)
            with pytest.raises(MemoryError):
                await batches.do(1)
            assert await batches.do(2) == 2

    asyncio.run(run())


def test_somebody_who_goes_away_does_not_stop_the_others() -> None:
    work = Doubling()

    async def run() -> int:
        with ThreadPoolExecutor(2) as threads:
            batches = Batches[int, int](threads, work, most=4, at_once=1)
            gone, stays = (asyncio.create_task(batches.do(item)) for item in (1, 2))
            await asyncio.to_thread(work.begun.wait, 10)
            gone.cancel()
            work.may.set()
            return await stays

    assert asyncio.run(run()) == 4
