"""Small pieces of work that come at the same time, done together by one thread: each costs less, and fewer wait for each other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from .uploads import in_thread

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches(Generic[Item, Result]):
    """`work` gets what has come while the batch before was done, and returns for each item what came of it, or its error.

    At most `at_once` batches of at most `most` items are in the executor at a time. For one event loop.
    """

    def __init__(self, threads: Executor, work: Callable[[list[Item]], Sequence[Result | Exception]], *, most: int, at_once: int) -> None:
        self._threads, self._work, self._most, self._at_once = threads, work, most, at_once
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def do(self, item: Item) -> Result:
        """What came of one item; its error is raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._running) < self._at_once:
            task = asyncio.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            try:
                results = await in_thread(self._threads, self._work, [item for item, _ in batch])
            except Exception as exc:  # noqa: BLE001  # every caller has to hear of it
                results = [exc] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue  # the caller went away
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
