"""What tests of reports share."""

import pytest

from fedmammo.report import blocks


@pytest.fixture(autouse=True)
def _validated_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold every chart that is written against the schema of Vega-Lite."""
    monkeypatch.setattr(blocks, "VALIDATED", True)
