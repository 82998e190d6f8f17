"""What a hospital is asked to do: an instruction that travels as text."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedmammo.config.sections import ArmName
from fedmammo.config.setting import Setting

Stage = Literal["features", "share", "count", "plan", "generator", "embedding", "train", "score"]
PRETRAINING = "pretraining"  # in place of a cell, where those that begin with it share it


@dataclass(frozen=True)
class Cell:
    """One deployment of a study: an arm, a setting, a seed, a draw of hospitals and a fold.

    `draw` is a seed of `hospitals.seed`; `fold` is 0 where there is no cross-validation.
    """

    arm: ArmName
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
        stage: `features` (compute some of the frozen prefix), `share` (keep a pool), `count` (patients of each class),
            `plan` (agree to one), `generator` (a round of the GAN), `embedding` (sums of features), `train` (a round of
            the classifier) or `score`.
        cell: the deployment.
        round: 1 for the first round.
        study: the study's configuration as JSON, as the cell's arm runs it.
        run: folder of the run, in which the hospital keeps its state.
        pooled: whether the answering node holds every hospital's patients (the centralised arm).
        pool: digest of the synthetic images that the task is about: whose features are computed, which are kept, which
            are learned from beside the patients.
        plan: where the setting has a budget, the plan to agree to, as text, or the digest of the one agreed to.
        asked: the mechanism that the server asks for, which must be the plan's.
        among: nodes that compute the features of a pool between them.
    """

    stage: Stage
    cell: Cell
    round: int
    study: str
    run: str
    pooled: bool = False
    pool: str | None = None
    plan: str | None = None
    asked: dict[str, Any] | None = None
    among: tuple[int, ...] = ()

    def to_json(self) -> str:
        """Write as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Read what `to_json` wrote."""
        content = json.loads(text)
        return cls(**{**content, "cell": Cell(**content["cell"]), "among": tuple(content["among"])})
