"""The libraries that render: named where they are missing, and never on the network."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from embconv.registry.render_errors import MissingExtra
from embconv.registry.validation.extra import ENVIRONMENT, need


@pytest.mark.parametrize("module", ["torch", "diffusers", "transformers", "safetensors"])
def test_what_is_not_installed_is_named_with_the_command_that_installs_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need()  # one of them that was imported without another would not do for the rest of the suite
    monkeypatch.setitem(sys.modules, module, None)  # an import of it fails as if it were not there
    with pytest.raises(MissingExtra, match=f"need {module}, which is not installed") as caught:
        need()
    assert caught.value.hint == "Install it: pip install 'embconv[render]'"


def test_what_is_installed_and_does_not_work_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "torch":
                raise OSError("libcudart.so.12: cannot open shared object file")

    need()
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MissingExtra, match="need torch, which cannot be imported: libcudart"):
        need()


def test_a_checkpoint_is_known_without_them() -> None:
    code = "import sys; from embconv.registry.validation import checkpoints, extra; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {"torch", "diffusers", "transformers", "numpy", "safetensors"} & set(done.stdout.split()) == set()


def test_they_are_told_to_stay_off_the_network() -> None:
    need()
    assert {name: os.environ.get(name) for name in ENVIRONMENT} == ENVIRONMENT
    import huggingface_hub.constants

    assert huggingface_hub.constants.HF_HUB_OFFLINE
