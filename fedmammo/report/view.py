"""What a page of hospitals shows: numbers and images that others computed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedmammo.hospitals.digitiser import Digitiser


@dataclass(frozen=True, eq=False)
class View:
    """What a page shows.

    Attributes:
        title: of the page.
        note: which draw, of which cohort.
        names: the hospitals that pictures show.
        held: what every hospital holds (`holdings`).
        differing: how far every hospital is from the others.
        labels: patients, hospitals x benign and malignant.
        densities: patients, hospitals x density classes 1 to 4 and unknown.
        columns: the example films' labels.
        examples: the films by row of the picture: as the cohort holds them, then as each digitiser shows them.
        digitisers: those in use, by a text that names their hospitals.
        gray: gray values of each hospital's own images.
    """

    title: str
    note: str
    names: list[str]
    held: pd.DataFrame
    differing: pd.DataFrame
    labels: pd.DataFrame
    densities: pd.DataFrame
    columns: list[str]
    examples: dict[str, list[NDArray[np.uint16]]]
    digitisers: dict[str, Digitiser]
    gray: dict[str, NDArray[np.uint16]]
