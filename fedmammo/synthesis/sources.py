"""Where a study's synthetic images may come from, a part of its schema."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from fedmammo.config.schema import Section

# In the words of a pool's manifest.
NO_GUARANTEE, NONE_NEEDED = "none", "none needed: drawn by rule, at published rates"
POOLS, POOLS_TABLE = "synthetic", "pools.csv"  # a run's folder of pools, and the table there of who holds which
QUALITY_TABLE = "quality.csv"  # beside it: how good they are


class Source(Section):
    """What holds for every source of synthetic images."""

    images: int = Field(
        default=1000, ge=2, le=1_000_000, multiple_of=2, description="Images in a pool, half of them malignant."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the images; study seeds vary the classifier alone.")
    synthetic_per_real: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Setting `augmented`: synthetic images that a round takes for each training patient.",
    )


class FromGan(Source):
    """Generators that the arm's own holders train on their training patients."""

    source: Literal["gan"]
    method: Literal["adversarial", "mean_embedding"] = Field(
        default="adversarial",
        description="How the generator learns: `adversarial`, against a discriminator; `mean_embedding`, each hospital "
        "releases one sum of features for each class, and the server trains a generator whose images sum to the same.",
    )
    combine: Literal["pool", "discriminator", "average"] = Field(
        default="pool",
        description="What a federation makes of its hospitals' GANs: `pool`, each hospital's own generator is sent and "
        "the server samples them by quota; `discriminator`, hospitals send updates of the discriminator and the server "
        "trains the generator; `average`, the strategy combines both.",
    )
    mcgan: Literal["default", "reference"] = Field(
        default="default", description="The networks: ours, or those of the reference study (128 pixels)."
    )
    image_size: Literal[32, 64, 128] = Field(default=64, description="Side of a synthetic image in pixels.")
    width: int = Field(
        default=16,
        ge=4,
        le=256,
        multiple_of=4,
        description="Channels of the generator at full resolution; 64 in the reference study.",
    )
    phantom_steps: int = Field(
        default=0,
        ge=0,
        description="Steps on drawn patches before the first round, which cost no privacy; every holder starts there.",
    )
    rounds: int = Field(default=10, ge=1, description="Rounds of training; a restart continues after the last one.")
    local_steps: int = Field(default=500, ge=1, description="Steps in a round.")
    batch: int = Field(
        default=16, ge=1, le=4096, description="Patients in a step, drawn with replacement, one image of each."
    )

    @property
    def by_strategy(self) -> bool:
        """Whether a federation's strategy combines what hospitals trained."""
        return self.method == "adversarial" and self.combine != "pool"

    @property
    def can_be_private(self) -> bool:
        """Whether hospitals can train it under a budget: what they send can be noised before anybody learns from it."""
        return self.method == "mean_embedding" or self.combine == "discriminator"

    @model_validator(mode="after")
    def _two_halves_of_each_class(self) -> "FromGan":
        if self.method == "mean_embedding" and self.batch < 4:
            raise ValueError("batch: method mean_embedding takes 4 images or more, two of each class")
        return self

    @model_validator(mode="after")
    def _reference_has_one_size(self) -> "FromGan":
        if self.mcgan == "reference" and self.image_size != 128:
            raise ValueError(f"image_size: the reference's networks make images of 128 pixels, not {self.image_size}")
        return self


class FromFolder(Source):
    """Images made elsewhere; nothing is known of what they cost in privacy."""

    source: Literal["folder"]
    path: str = Field(
        description="Folder of images; a file, or a folder that it lies in, ends in `benign` or `malignant`."
    )


class FromPhantom(Source):
    """Masses drawn by rule, with shapes and margins as often as published of other populations than those studied."""

    source: Literal["phantom"]
    difficulty: float = Field(default=0.5, ge=0, le=1, description="0 is easy, 1 is hard.")


Synthesis = Annotated[FromGan | FromFolder | FromPhantom, Field(discriminator="source")]
SOURCES = tuple(get_args(kind.model_fields["source"].annotation)[0] for kind in get_args(get_args(Synthesis)[0]))
