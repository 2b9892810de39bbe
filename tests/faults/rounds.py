"""Rounds of work that end with SIGKILL, and what has to hold after each."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from faults.harness import CUT, Client, Server, check_sound, check_swept, listed, other, plain, sha256

THREADS = 4
SHARED = 6  # embeddings that every thread uploads and removes
SAMPLE = 40  # older embeddings that are looked at after each round; after the last it is all of them
CODES = {"upload": {200, 201}, "delete": {204}}


@dataclass
class Item:
    """An embedding of one thread: what the server has acknowledged of it, and what it was doing when it died."""

    number: int
    digest: str = ""
    present: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    sending: tuple[str, bytes] | None = None
    removing: bool = False
    touched: bool = True


class Rounds:
    """One home, and a server that is killed again and again."""

    def __init__(self, home: Path, seed: int, *options: str) -> None:
        self.home, self.options = home, options
        self.dice = random.Random(seed)
        self.items: dict[int, list[Item]] = {thread: [] for thread in range(THREADS)}
        self.wrong: list[str] = []
        self.acknowledged = 0
        self._next = 1000

    def run(self, count: int) -> None:
        """Work, kill, start again, look: `count` times, and look at everything in the end."""
        server = self.server().__enter__()
        try:
            for _ in range(count):
                self.work(server)
                if self.dice.random() < 0.1:
                    self.dies_starting()
                server = self.server().__enter__()
                self.check(server, SAMPLE)
            self.check(server, None)
        finally:
            server.kill()

    def server(self) -> Server:
        return Server(self.home, *self.options)

    def dies_starting(self) -> None:
        """A start that is killed too, perhaps while it sweeps."""
        server = self.server()
        time.sleep(self.dice.uniform(0.2, 0.7))
        server.kill()

    def work(self, server: Server) -> None:
        """Threads that upload and remove until the server is killed under them."""
        threads = [
            threading.Thread(target=self.thread, args=(server, thread, random.Random(self.dice.random()))) for thread in range(THREADS)
        ]
        before, until = self.acknowledged, time.monotonic() + 10
        for thread in threads:
            thread.start()
        if self.dice.random() < 0.8:  # else it may die before it has answered anything
            while self.acknowledged == before and time.monotonic() < until:
                time.sleep(0.001)
        time.sleep(self.dice.uniform(0.02, 0.25))
        server.kill()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert not self.wrong, self.wrong[:5]

    def thread(self, server: Server, mine: int, dice: random.Random) -> None:
        with server.client() as client:
            try:
                while True:
                    self.step(client, self.items[mine], mine, dice)
            except CUT:
                return
            except Exception as exc:  # noqa: BLE001  # a thread that dies of a mistake of the test must not look like a kill
                self.wrong.append(repr(exc))

    def step(self, client: Client, items: list[Item], mine: int, dice: random.Random) -> None:
        """One thing to do: mostly a new file."""
        choice = dice.random()
        if choice < 0.15:
            self.contend(client, dice)
        elif choice < 0.6 or not items:
            items.append(Item(self.number(mine, items)))
            self.upload(client, items[-1], plain(items[-1].number))
        elif not (item := dice.choice(items[-50:])).present:
            self.upload(client, item, plain(item.number))
        elif choice < 0.75:
            self.upload(client, item, other(item.number))
        else:
            self.remove(client, item)

    def number(self, mine: int, items: list[Item]) -> int:
        return self._next + mine + THREADS * len(items)

    def contend(self, client: Client, dice: random.Random) -> None:
        """Do what the others do at the same time with the same embedding: only its wholeness can be known."""
        number = dice.randrange(SHARED)
        found = client.upload(dice.choice((plain, other))(number), f"zq{number}.bin")
        self.expect("upload", found.status, found.body)
        if dice.random() < 0.5:
            gone = client.delete(found.json["embeddings"][0]["digest"])
            if gone.status != 410:  # somebody else was faster
                self.expect("delete", gone.status, gone.body)

    def upload(self, client: Client, item: Item, data: bytes) -> None:
        item.touched, item.sending = True, (sha256(data), data)
        found = client.upload(data, f"zq{item.number}.bin")
        self.expect("upload", found.status, found.body)
        item.files[sha256(data)], item.digest, item.present, item.sending = data, found.json["embeddings"][0]["digest"], True, None

    def remove(self, client: Client, item: Item) -> None:
        item.touched = item.removing = True
        found = client.delete(item.digest)
        self.expect("delete", found.status, found.body)
        item.files, item.present, item.removing = {}, False, False

    def expect(self, what: str, status: int, body: bytes) -> None:
        self.acknowledged += 1
        if status not in CODES[what]:
            self.wrong.append(f"{what}: {status} {body[:300]!r}")

    def check(self, server: Server, sample: int | None) -> None:
        """After a kill: everything that has to hold. None: of every embedding there ever was."""
        check_sound(self.home)
        check_swept(self.home)
        there = listed(self.home)
        everything = [item for items in self.items.values() for item in items]
        self.settle(everything, there)
        new = [item for item in everything if item.touched]
        old = [item for item in everything if not item.touched]
        chosen = [*new, *(old if sample is None else self.dice.sample(old, min(sample, len(old))))]
        with server.client() as client:
            for item in chosen:
                self.check_item(client, item, there)
                item.touched = False
            known = {item.digest for item in everything}
            for digest in there.keys() - known:  # those of all threads together
                self.check_whole(client, digest)
        assert {item.digest for item in everything if item.present} <= there.keys()

    def settle(self, items: list[Item], there: dict[str, set[str]]) -> None:
        """What was under way has either happened or not; from now on it is known which."""
        owner = {sha: digest for digest, files in there.items() for sha in files}
        for item in items:
            if item.sending is not None and item.sending[0] in owner:
                item.files[item.sending[0]] = item.sending[1]
                item.digest, item.present = owner[item.sending[0]], True
            if item.removing and item.digest not in there:
                item.files, item.present = {}, False
            item.sending, item.removing = None, False

    def check_item(self, client: Client, item: Item, there: dict[str, set[str]]) -> None:
        if item.present:
            assert there[item.digest] == item.files.keys()
            assert self.check_whole(client, item.digest) == item.files
        elif item.digest:
            assert item.digest not in there
            assert client.get(f"/v1/embeddings/{item.digest}").status == 410

    def check_whole(self, client: Client, digest: str) -> dict[str, bytes]:
        """The files of an embedding by its document, each with its bytes."""
        document = client.get(f"/v1/embeddings/{digest}")
        assert document.status == 200, document
        files = {}
        for entry in document.json["files"]:
            found = client.get(f"/v1/files/{entry['sha256']}")
            assert found.status == 200, found
            assert sha256(found.body) == entry["sha256"]
            assert len(found.body) == entry["size"]
            files[entry["sha256"]] = found.body
        assert files
        return files
