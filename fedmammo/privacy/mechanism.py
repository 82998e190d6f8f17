"""A mechanism: sums over patients with Gaussian noise, repeated; said as data, interpreted by the accounting."""

from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Literal, get_args

Stage = Literal["train", "generator", "embedding"]


@dataclass(frozen=True)
class Mechanism:
    """What a stage of a deployment draws from a hospital's patients. Raises ValueError for what cannot be.

    Attributes:
        stage: `train` (the classifier), `generator` (a GAN's discriminator) or `embedding` (one sum of features).
        clipping_norm: the most, in L2 norm, that one patient adds to a sum.
        noise_multiplier: standard deviation of the noise on a sum, as a multiple of the clipping norm.
        rate: probability with which a patient is in a step, independently of the others; 1 is everybody in every step.
        rounds: how many the server takes; the hospital releases something in each.
        local_steps: noised sums in a round. A round's steps are all taken or none: the rate is that of a step.
        spare: how often a round may be asked again, which is a release of its own.
    """

    stage: Stage
    clipping_norm: float
    noise_multiplier: float
    rate: float
    rounds: int
    local_steps: int
    spare: int = 0

    def __post_init__(self) -> None:
        """Refuse what has no meaning, noise of nothing first of all."""
        for name in ("clipping_norm", "noise_multiplier", "rate", "rounds", "local_steps"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name.replace('_', ' ')} {getattr(self, name)} is not a positive number")
        if not (isinstance(self.rounds, int) and isinstance(self.local_steps, int)):
            raise ValueError(f"{self.rounds} rounds of {self.local_steps} steps are not whole numbers")
        if not (isinstance(self.spare, int) and self.spare >= 0):
            raise ValueError(f"{self.spare} spare rounds are not a whole number from 0 up")
        if self.stage not in get_args(Stage):
            raise ValueError(f"nobody knows stage {self.stage}")
        if self.rate > 1:
            raise ValueError(f"rate {self.rate} is not a probability")

    @property
    def releases(self) -> int:
        """How often the hospital may release something, rounds that are asked again among them."""
        return self.rounds + self.spare

    @property
    def steps(self) -> int:
        """Noised sums in all releases."""
        return self.releases * self.local_steps

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes by name."""
        return asdict(self)
