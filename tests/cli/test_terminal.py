"""A real terminal: the bar is seen there, and stdout stays clean."""

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import EMBCONV

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")


def on_a_terminal(folder: Path, *arguments: str, both: bool = False) -> tuple[int, str, str]:
    """Exit code, stdout through a pipe (unless `both`), and what a terminal on stderr shows."""
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONUTF8": "1"}
    stdout = theirs if both else subprocess.PIPE
    with subprocess.Popen([EMBCONV, *arguments], cwd=folder, env=environment, stdin=theirs, stdout=stdout, stderr=theirs) as process:
        os.close(theirs)
        shown, until = b"", time.monotonic() + 60
        while time.monotonic() < until:
            if not select.select([ours], [], [], 0.1)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says so that the other side is closed
                break
            if not piece:
                break
            shown += piece
        out = process.stdout.read() if process.stdout else b""
        code = process.wait(60)
    os.close(ours)
    return code, out.decode(), shown.decode(errors="replace")


def test_a_bar_is_shown_on_a_terminal_and_stdout_stays_clean(samples: Path) -> None:
    code, out, shown = on_a_terminal(samples, ".", "-r", "-o", "out", "-q")
    assert code == 1
    assert "Converting" in shown
    assert "\x1b" in shown
    assert "\x1b" not in out
    assert all((samples / line).exists() for line in out.splitlines())
    assert len(out.splitlines()) == 8


@pytest.mark.parametrize("command", ["check", "inspect"])
def test_reports_have_a_bar_too(samples: Path, command: str) -> None:
    _, out, shown = on_a_terminal(samples, command, ".", "--nl")
    assert "\x1b" in shown
    assert all(line.startswith("{") for line in out.splitlines())


def test_there_is_no_bar_for_one_file(samples: Path) -> None:
    code, out, shown = on_a_terminal(samples, "moonpaper.pt", "moonpaper.safetensors")
    assert (code, shown) == (0, "")
    assert out.splitlines()[-1] == "moonpaper.safetensors"


def test_there_is_no_bar_in_a_pipe(samples: Path) -> None:
    done = subprocess.run([EMBCONV, ".", "-r", "-o", "out"], cwd=samples, capture_output=True, text=True, timeout=60)
    assert "\x1b" not in done.stdout + done.stderr
    assert "Converting" not in done.stderr


def test_a_path_is_printable_on_a_terminal_and_itself_in_a_pipe(samples: Path) -> None:
    evil = "a\x1b[31mred.safetensors"
    code, _, shown = on_a_terminal(samples, "moonpaper.pt", evil, both=True)
    assert code == 0
    assert "\x1b" not in shown
    shutil.rmtree(samples / "out", ignore_errors=True)
    (samples / evil).unlink()
    done = subprocess.run([EMBCONV, "moonpaper.pt", evil], cwd=samples, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == evil
