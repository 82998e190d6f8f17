"""What a study at real hospitals may say."""

from collections.abc import Callable
from typing import Any

import pytest

from fedmammo.config.study import parse
from fedmammo.errors import InputError

KEY = "ecdsa-sha2-nistp384 A"


@pytest.mark.parametrize("seed", [3, [0, 1]])
def test_nobody_deals_real_hospitals_patients(new_study: Callable[[], dict[str, Any]], seed: Any) -> None:
    """Hospitals refuse any draw but the first: in another one other patients set thresholds."""
    content = new_study()
    link = {"address": "nowhere:1", "certificate": "none", "secret": "none"}
    content |= {
        "cohort": {},
        "arms": ["federated"],
        "hospitals": {"assignment": {"by": "site", "keys": {"a": KEY, "b": KEY + "B"}}},
    }
    content["engine"] |= {"name": "superlink", "link": link}
    parse(content, "at sites")
    content["hospitals"]["seed"] = seed
    with pytest.raises(InputError, match=r"hospitals\.seed: nobody deals real hospitals' patients; leave it out"):
        parse(content, "at sites")
