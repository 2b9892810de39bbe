"""The server: a socket, workers that share it, and an end that waits for uploads."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from msgspec.structs import replace
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from .app import NOSNIFF, create_app
from .errors import BadParameter
from .guards import bracketed, loopback, wildcard
from .observe import Log
from .problems import MEDIA, BadRequest, body_of, problem
from .settings import Settings
from .store import Store, list_keys
from .times import now

if TYPE_CHECKING:
    from asyncio import TimerHandle

HEAD = 30.0        # seconds for the head of a request
QUIET = 15         # seconds that a connection may wait for the next request
FINISHING = 50     # seconds for what runs when the end comes; container hosts wait 60
BACKLOG = 1024
SWITCH = 0.001     # seconds after which a thread lets another on: the event loop answers between uploads
USAGE = 2


def run(settings: Settings) -> int:
    """Serve until a signal ends it; the exit code. Once it answers, the first lines of stdout say where. Raises NoStore or BadParameter."""
    if no_key(settings) and not loopback(settings.host):
        sys.stderr.write(
            f"Error: {settings.host} is not this machine alone, and the registry has no key. [key_needed]\n"
            "  Make one, which is shown once: embconv keys create NAME --role write\n"
        )
        return USAGE
    with contextlib.closing(bound(settings)) as listening:
        known = replace(settings, port=listening.getsockname()[1])
        config = configured(known)
        if known.workers > 1:
            tell(known)  # until the first worker is there, the system keeps those who come waiting
            Multiprocess(config, sockets=[listening]).run()
            return 0
        server = Server(config, partial(tell, known))
        server.run(sockets=[listening])
        return 0 if server.started else 1


def tell(settings: Settings) -> None:
    """Where it answers, and where the data lies."""
    where = bracketed("127.0.0.1" if wildcard(settings.host) else settings.host)
    sys.stdout.write(f"Serving http://{where}:{settings.port}\nData: {settings.home}\n")
    sys.stdout.flush()


def no_key(settings: Settings) -> bool:
    """Is there no key that may be used? Opening the store here also says what is wrong with it, before anything listens."""
    with Store(settings.home, busy_seconds=settings.busy_seconds) as store:
        return not any(key.revoked is None and (key.expires is None or key.expires > now()) for key in list_keys(store.read))


def bound(settings: Settings) -> socket.socket:
    """The socket. BadParameter where it is taken, or no address of this machine."""
    host = settings.host.strip("[]") if settings.host != "*" else ""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name != "nt":  # there it would let a second server take the same port
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as exc:
        why = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise BadParameter("address to listen at", f"{settings.host}:{settings.port}", why) from exc
    listening.set_inheritable(True)
    return listening


def configured(settings: Settings) -> uvicorn.Config:
    """How uvicorn is to serve: nothing is believed of proxies, and its log is ours."""
    return uvicorn.Config(
        partial(application, settings), factory=True, workers=settings.workers, http=Protocol, ws="none", lifespan="on", interface="asgi3",
        proxy_headers=False, server_header=False, access_log=False, log_config=None, backlog=BACKLOG, timeout_keep_alive=QUIET,
        timeout_graceful_shutdown=FINISHING,
    )  # fmt: skip


def application(settings: Settings) -> Any:
    """The application of one worker."""
    sys.setswitchinterval(SWITCH)
    log = Log(settings.log_level)
    logger = logging.getLogger("uvicorn.error")
    logger.handlers, logger.propagate = [Forwarded(log)], False
    logger.setLevel(logging.WARNING)
    app = create_app(settings, log=log)
    gc.collect()
    gc.freeze()  # what stays for ever is not looked at again and again for garbage
    return app


class Forwarded(logging.Handler):
    """What uvicorn says, as lines of our log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.write("error" if record.levelno >= logging.ERROR else "warning", "server", detail=record.getMessage().strip())


class Server(uvicorn.Server):
    """Tells when it answers. Ends with exit code 0 at SIGTERM, as it was asked to; Ctrl-C stays what it is."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        before = signal.getsignal(signal.SIGTERM)
        with contextlib.suppress(ValueError):  # not in the main thread, where there are no signals
            signal.signal(signal.SIGTERM, lambda number, frame: None)  # what uvicorn raises again once all is done
        try:
            with super().capture_signals():
                yield
        finally:
            with contextlib.suppress(ValueError, TypeError):
                signal.signal(signal.SIGTERM, before)


class Protocol(HttpToolsProtocol):
    """uvicorn's, but a connection is closed where the head of a request does not come, or not all of it: uvicorn waits for ever.

    It looks once in a while instead of starting a timer for each request, which would cost more than it gains.
    """

    _watch: TimerHandle | None = None
    _seen: object = None  # the scope that was unfinished when we last looked

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch = asyncio.get_running_loop().call_later(HEAD, self._look)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words say no more
        """What is no HTTP gets a problem as everything else does; uvicorn's answer is plain text."""
        body = body_of(problem(BadRequest("That is no HTTP request."), "", ""))
        head = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: %s\r\ncontent-length: %d\r\n%s: %s\r\n\r\n"
        self.transport.write(head % (MEDIA, len(body), *NOSNIFF) + body)
        self.transport.close()

    def shutdown(self) -> None:
        """Those who only watch are sent away at once, and may come again; all others get their answer first."""
        super().shutdown()
        scope: Any = self.scope
        if scope is not None and str(scope.get("path", "")).endswith("/events"):
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close a connection on which nothing was ever asked, or whose head was as unfinished the last time."""
        if self.transport.is_closing():
            return
        scope: Any = self.scope  # None before the first request, whatever uvicorn's types say
        unfinished = scope if scope is not None and "method" not in scope else None
        if scope is None or (unfinished is not None and unfinished is self._seen):
            self.transport.close()
            return
        self._seen = unfinished
        self._watch = asyncio.get_running_loop().call_later(HEAD / 2, self._look)
