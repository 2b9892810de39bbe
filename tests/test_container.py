"""The image: what it is built from, and that it asks for no rights. The registry in it has its own tests."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from embconv.registry.serve import FINISHING

ROOT = Path(__file__).parents[1]
if not (ROOT / ".types").exists():
    pytest.skip("the wheel is tested, without the source tree", allow_module_level=True)
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
CONTEXT = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
SERVICE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["registry"]


def said(instruction: str) -> list[str]:
    """What follows an instruction of the Dockerfile, lines joined."""
    return re.findall(rf"^{instruction} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def test_what_the_build_is_given_is_enough_for_the_wheel(tmp_path: Path) -> None:
    from setuptools import build_meta

    for name in CONTEXT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        wheel = build_meta.build_wheel(str(tmp_path))
    assert re.fullmatch(r"embconv-.*\.whl", wheel)


def test_it_runs_as_a_user_without_rights() -> None:
    (user,) = said("USER")
    assert int(user) > 0
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]


def test_only_the_volume_is_written() -> None:
    assert SERVICE["read_only"] is True
    (volume,) = said("VOLUME")
    assert [mount.partition(":")[2] for mount in SERVICE["volumes"]] == [volume]
    assert f"EMBCONV_HOME={volume}" in said("ENV")[0].split()


def test_it_is_reached_from_this_machine_alone_until_somebody_says_otherwise() -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])


def test_it_has_longer_to_stop_than_the_server_waits_for_uploads() -> None:
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > FINISHING
