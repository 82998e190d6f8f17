"""Seeds, and other whole numbers, as a study gives them: one, a list, or a range."""

import re
from typing import Any

MOST_SEEDS = 1000


def different_seeds(seeds: list[int]) -> list[int]:
    """Return the seeds. Raises ValueError unless they are different numbers from 0 up."""
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError("seeds are different numbers from 0 up")
    return seeds


def list_of_seeds(value: Any) -> Any:
    """Return a list of seeds: of one, of a list, or of a range such as `0..19`, both ends among them."""
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]+)\.\.([0-9]+)", value.strip())):
        first, last = map(int, found.groups())
        if not first <= last < first + MOST_SEEDS:
            raise ValueError(f"a range begins with its smaller end, and has at most {MOST_SEEDS} seeds")
        return list(range(first, last + 1))
    return [value] if isinstance(value, int) else value
