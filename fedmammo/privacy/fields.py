"""Every field that leaves a hospital, marked: what a hospital may send while its setting has a budget."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from fedmammo.privacy.plan import RefusalError

Mark = Literal["public", "local", "charged"]


class Field(NamedTuple):
    """A field of a hospital's answer.

    Attributes:
        stage: of the task.
        name: of the field; `tensors` stands for all of an answer.
        mark: `public` depends on no patient's data, `charged` is noised and in the ledger, `local` stays at the
            hospital under a budget.
        reason: why.
    """

    stage: str
    name: str
    mark: Mark
    reason: str


_SIZE = "declared in the plan, as the relation allows"
_SPENT = "follows from the plan"
_EXACT = "depends on patients without noise"
FIELDS = (
    Field("features", "remaining", "public", "always 0: features are computed in one go"),
    Field("count", "benign", "local", _EXACT),
    Field("count", "malignant", "local", _EXACT),
    Field("generator", "tensors", "charged", "steps along noised sums of clipped gradients"),
    Field("generator", "num-examples", "public", _SIZE),
    Field("generator", "epsilon", "public", _SPENT),
    Field("generator", "loss", "local", _EXACT),
    Field("generator", "generator_loss", "local", _EXACT),
    Field("generator", "images", "local", _EXACT),
    Field("embedding", "tensors", "charged", "one noised sum of clipped vectors"),
    Field("embedding", "num-examples", "public", _SIZE),
    Field("embedding", "epsilon", "public", _SPENT),
    Field("train", "tensors", "charged", "steps along noised sums of clipped gradients"),
    Field("train", "num-examples", "public", _SIZE),
    Field("train", "epsilon", "public", _SPENT),
    Field("train", "loss", "local", _EXACT),
    Field("train", "images", "local", _EXACT),
    Field("score", "tensors", "local", "of tested and validation patients: only the simulation brings them together"),
)
_MARKS = {(field.stage, field.name): field.mark for field in FIELDS}


def check_fields(stage: str, names: Iterable[str]) -> None:
    """Raise RefusalError where an answer under a budget would hold a field that is neither public nor charged.

    Scores are exempt: on one machine the simulation stands for every hospital's own evaluation, whose metrics a
    deployment would release in their place.
    """
    for name in names:
        if stage != "score" and _MARKS.get((stage, name), "local") == "local":
            raise RefusalError(f"refused: {name} of stage {stage} is not for others to see")
