"""Where `embconv` starts: the plain conversion of one file goes straight through, everything else through click.

Importing click takes about as long as all the rest of `embconv in.pt out.safetensors`; people run that in loops.
"""

from __future__ import annotations

import io
import os
import sys

COMMANDS = ("convert", "inspect", "check", "repair", "hash",
            "add", "search", "show", "export", "remove", "verify", "serve", "keys", "backup", "identify", "sync",
            "previews", "checkpoints", "validate", "worker")  # fmt: skip


def cli() -> None:
    """Run the command line of this process and exit; 130 where Ctrl-C ended it."""
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        code = 130
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of a command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a file's name that is no UTF-8 goes out as the bytes it is
    if is_plain(arguments) and (arguments[0] == "convert" or not meant(arguments[0])):
        return _plain(*arguments[-2:])
    return _through_click()


def is_plain(arguments: list[str]) -> bool:
    """Is this `[convert] IN OUT` with one file on each side and no option?"""
    given = arguments[1:] if arguments[:1] == ["convert"] else arguments
    if len(given) != 2 or any(text.startswith("-") or not text for text in given) or given[0] in COMMANDS:
        return False
    source, dest = given
    return not (dest.endswith(("/", os.sep)) or os.path.isdir(dest) or os.path.isdir(source))


def meant(word: str) -> str:
    """The command that somebody mistyped as `word`; "" where it is one, a file, or near to none."""
    if word in COMMANDS or not word.isalpha() or os.path.lexists(word):
        return ""
    from difflib import get_close_matches  # for a mistake only

    return "".join(get_close_matches(word.lower(), COMMANDS, n=1, cutoff=0.7))


def _through_click() -> int:
    import gc

    gc.disable()  # looking for garbage while importing takes a tenth of the time, and there is none
    from click import Abort, ClickException

    from .app import app

    gc.freeze()
    gc.enable()
    try:
        code = app.main(prog_name="embconv", standalone_mode=False)
    except ClickException as exc:
        exc.show()
        return exc.exit_code
    except Abort:  # click's word for Ctrl-C while it read the arguments
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0


def _plain(source: str, dest: str) -> int:
    import gc

    gc.disable()  # one file makes no garbage worth looking for, and looking while importing takes a tenth of the time
    # msgspec asks it for names which typing has since 3.11; importing it (and inspect, ast and dis with it) takes 10 ms.
    sys.modules.setdefault("typing_extensions", None)  # type: ignore[arg-type]
    from .plain import convert_file

    return convert_file(source, dest)
