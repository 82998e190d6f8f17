"""What a study asks of hospitals whose tested patients stay home."""

import hashlib

from pydantic import Field

from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import EvaluationConfig, Pooling, Unit
from fedmammo.config.schema import Section


class Request(Section):
    """What is asked: of which deployments, and the parts of a study's evaluation that answers depend on."""

    deployments: tuple[str, ...] = Field(min_length=1, description="Digests of deployments that were scored.")
    unit: Unit = Field(description="Of what metrics are.")
    pooling: Pooling = Field(default="probability", description="How a unit's score is made of its images'.")
    metric: str = Field(description="The primary metric.")
    arm: str = Field(description="The arm that ought to be better.")
    against: str = Field(description="The arm that it is compared with.")
    setting: str = Field(description="Of the primary comparison.")
    subgroups: tuple[str, ...] = Field(description="Columns by whose values patients are told apart.")

    @classmethod
    def of(cls, deployments: list[Deployment], evaluation: EvaluationConfig) -> "Request":
        """Return what a study asks."""
        primary = evaluation.primary
        return cls(
            deployments=tuple(one.digest for one in deployments),
            unit=evaluation.unit,
            pooling=evaluation.pooling,
            metric=primary.metric,
            arm=primary.arm,
            against=primary.against,
            setting=primary.setting or deployments[0].setting_name,
            subgroups=tuple(evaluation.subgroups),
        )

    @property
    def evaluation(self) -> EvaluationConfig:
        """The same as a study says it, all else as nobody asks it."""
        primary = {name: getattr(self, name) for name in ("metric", "arm", "against", "setting")}
        content = {"unit": self.unit, "pooling": self.pooling, "primary": primary, "subgroups": list(self.subgroups)}
        return EvaluationConfig.model_validate(content)

    @property
    def digest(self) -> str:
        """SHA-256 that names it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
