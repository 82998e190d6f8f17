"""What a study says about privacy, a part of its schema; the budget itself stands in a setting's name."""

from typing import Literal

from pydantic import Field, model_validator

from fedmammo.config.schema import Section


class Privacy(Section):
    """How settings with a budget (`real-epsilon-6`) protect patients; the others do not look at it."""

    delta: float = Field(
        default=1e-4, gt=0, le=1e-2, description="Delta at which the budget holds; 1e-6 is reported beside it."
    )
    trust: Literal["local", "central", "secure"] = Field(
        default="local",
        description="Who is trusted: `local`, nobody: each hospital noises what it sends; `central`, a server that "
        "sees each hospital's clipped sum and noises the total, one step a round; `secure`, hospitals: each adds its "
        "share of the noise and hides its sum under masks, so that nobody sees anything but the total, one step a "
        "round.",
    )
    dropouts: int = Field(
        default=0,
        ge=0,
        description="With `secure`: how many hospitals may drop out for good. The noise is enough without them, and as "
        "many rounds may be asked again, which the budget pays beforehand.",
    )
    colluding: int = Field(
        default=0,
        ge=0,
        description="With `secure`: how many hospitals may tell the server all they know. The noise is enough without "
        "theirs.",
    )
    clipping_norm: float = Field(
        default=1.0, gt=0, description="Largest L2 norm of a patient's gradient when the classifier is trained."
    )
    generator_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the budget (of the squared parameter of Gaussian differential privacy) that the "
        "generator gets; 0 trains it without privacy, so that what uses its images has no guarantee from end to end.",
    )
    generator_clipping_norm: float = Field(
        default=1.0, gt=0, description="Largest L2 norm of a patient's gradient of the discriminator, or embedding."
    )
    generator_fraction: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Fraction of a hospital's training patients in a step of its discriminator.",
    )
    secret_seed: int | None = Field(
        default=None, description="For tests alone: hospitals' secrets come from this number, and nothing is private."
    )

    @model_validator(mode="after")
    def _shared_where_it_is_secure(self) -> "Privacy":
        if self.trust != "secure" and (self.dropouts or self.colluding):
            raise ValueError(f"dropouts and colluding belong to trust: secure, not to {self.trust}")
        return self
