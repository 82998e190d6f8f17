"""What may be one patient under two names: names that differ in how they are written, and identical patches."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def alike_names(patients: Iterable[str]) -> list[list[str]]:
    """Group patients whose names differ in case, leading zeros, or signs between letters and digits alone."""
    known = pd.Series(sorted(set(patients)), dtype=object)
    keys = known.map(lambda name: re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\W_]+", " ", name.casefold()).strip()))
    return _several(known, keys)


def digest_of_patch(patch: NDArray[np.uint16]) -> str:
    """Name a patch by its pixels, whatever it is called."""
    return hashlib.blake2b(patch.tobytes()).hexdigest()


def identical_patches(kept: pd.DataFrame, patches: NDArray[np.uint16]) -> list[list[tuple[str, str]]]:
    """Group images, as (patient, image), whose patches are the same to the last bit but of several patients.

    `kept`: one row per patch, in their order.
    """
    digests = pd.Series([digest_of_patch(patch) for patch in patches])
    named = pd.Series(list(zip(kept["patient"], kept["image"], strict=True)), dtype=object)
    found = _several(named, digests)
    return [group for group in found if len({patient for patient, _ in group}) > 1]


def sentences(facts: dict[str, Any], shown: int) -> list[str]:
    """Say what was found (`names`, `patches`), and name so many groups of it."""
    found = []
    if names := facts.get("names"):
        found.append(
            f"Names of patients that differ in case, zeros or signs alone, {len(names)} times, count as different "
            f"patients{_named([[repr(name) for name in group] for group in names], shown)}. Write alike what is one."
        )
    if patches := facts.get("patches"):
        told = [[f"{image} of {patient!r}" for patient, image in group] for group in patches]
        found.append(
            f"Under several patients, the same patch to the last bit, {len(patches)} times{_named(told, shown)}. "
            "Where these are one patient, who may be trained on and tested, give them one name."
        )
    return found


def _several(values: "pd.Series[Any]", keys: "pd.Series[Any]") -> list[list[Any]]:
    return [list(group) for _, group in values.groupby(keys.to_numpy(), sort=False) if len(group) > 1]


def _named(groups: list[list[str]], shown: int) -> str:
    """Name the first groups; the rest are in the cohort's own file."""
    first = "; ".join(" and ".join(group[:4]) for group in groups[:shown])
    rest = "" if len(groups) <= shown else "cohort.json names all"
    return f" ({'; '.join(part for part in (first, rest) if part)})"
