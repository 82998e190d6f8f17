"""What a hospital is asked to do: an instruction that travels as text."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from fedmammo.config import Arm, Setting

Stage = Literal["features", "train", "score"]


@dataclass(frozen=True)
class Cell:
    """One deployment of a study: an arm, a setting, a seed, a draw of hospitals and a fold.

    `draw` is a seed of `hospitals.seed`; `fold` is 0 where there is no cross-validation.
    """

    arm: Arm
    setting: Setting
    seed: int
    draw: int
    fold: int

    @property
    def name(self) -> str:
        """File-safe name."""
        return f"{self.arm}-{self.setting}-seed{self.seed}-draw{self.draw}-fold{self.fold}"


@dataclass(frozen=True)
class Task:
    """One message's instruction.

    Attributes:
        stage: `features` (compute some of the frozen prefix), `train` (a round) or `score`.
        cell: the deployment.
        round: 1 for the first round.
        study: the study's configuration as JSON, as the cell's arm runs it.
        run: folder of the run, in which the hospital keeps its state.
        pooled: whether the answering node holds every hospital's patients (the centralised arm).
    """

    stage: Stage
    cell: Cell
    round: int
    study: str
    run: str
    pooled: bool = False

    def to_json(self) -> str:
        """Write as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Read what `to_json` wrote."""
        content = json.loads(text)
        return cls(**{**content, "cell": Cell(**content["cell"])})
