"""The splits of a cohort, in the order in which a patient of several moves to the last."""

from typing import Literal, get_args

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
