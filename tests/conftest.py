"""What several rooms' tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real patches, CSVs and weights; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("FEDMAMMO_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"the real patches are not here: set FEDMAMMO_SHARED (looked in {folder})")
    return folder
