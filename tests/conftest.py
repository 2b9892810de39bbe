"""What every test may ask for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # each process of the suite has a core; threads that wait for one another on fewer spin

# every run tries the same inputs; HYPOTHESIS_PROFILE=default searches on
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

REAL = Path(os.environ.get("EMBCONV_REAL") or Path(__file__).parents[2] / "shared" / "real")


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real files beside the repository, or the one EMBCONV_REAL names."""
    if not REAL.is_dir():
        pytest.skip("the real files are not on this machine")
    return REAL
