"""What leaves a hospital: an answer, every field of which is marked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fedmammo.privacy.reasons import RefusalError

if TYPE_CHECKING:  # whoever reads a ledger needs no torch
    from torch import Tensor

Mark = Literal["public", "local", "charged"]
"""`public` depends on no patient's data, `charged` is noised and in the ledger, `local` stays under a budget."""


@dataclass(frozen=True)
class Answer:
    """What a hospital answers.

    Attributes:
        tensors: by name.
        numbers: by name.
        beside: tensors that are not averaged as a model is, such as a client-side algorithm's.
    """

    tensors: "dict[str, Tensor]" = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    beside: "dict[str, Tensor]" = field(default_factory=dict)

    @property
    def fields(self) -> list[str]:
        """Names of what it holds; `tensors` and `beside` stand for all of theirs."""
        return [*(["tensors"] if self.tensors else []), *(["beside"] if self.beside else []), *self.numbers]


def check_fields(stage: str, marks: Mapping[str, Mark], answer: Answer) -> None:
    """Raise RefusalError where an answer under a budget holds a field that is neither public nor charged."""
    for name in answer.fields:
        if marks.get(name, "local") == "local":
            raise RefusalError(f"refused: {name} of stage {stage} is not for others to see")
