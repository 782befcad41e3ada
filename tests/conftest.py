"""Shared fixtures."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

DATA_VARIABLE = "EMERGENT_ALIGNMENT_DATA"

# Here, so that it is loaded before any test is decorated: the same examples on every machine, and no deadline.
settings.register_profile("course", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("course")


def raw_data_folder():
    """The folder of raw data. Without it a test is skipped at home, but fails in continuous integration."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        reason = f"needs the raw data: set {DATA_VARIABLE} to the folder that holds it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    if not Path(folder).is_dir():
        pytest.fail(f"{DATA_VARIABLE} is {folder!r}, which is not a folder")
    return Path(folder)


@pytest.fixture
def data_dir():
    """The folder of raw data as the environment names it now."""
    return raw_data_folder()


@pytest.fixture(scope="session")
def raw_data():
    """The folder of raw data, for fixtures that read it once; as text, as a command line would have it."""
    return str(raw_data_folder())


@pytest.fixture
def full_size(request):
    """Whether a benchmark runs at the size of its claim (`make benchmark`) or small, as one more test."""
    return not request.config.getoption("benchmark_disable")
