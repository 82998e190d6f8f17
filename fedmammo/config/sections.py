"""The sections of a study: every field carries its description; `fedmammo schema` prints them all."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fedmammo.config.schedule import Attendance
from fedmammo.config.schema import Section
from fedmammo.config.seeds import different_seeds, list_of_seeds
from fedmammo.hospitals.rules import Assignment
from fedmammo.personal.base import HEAD
from fedmammo.personal.fine_tuning import FineTuning
from fedmammo.personal.registry import Personal
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.strategies.registry import Strategy


class CohortConfig(Section):
    """The patients of the study."""

    path: str = Field(
        default="",
        description="Folder made by `fedmammo data prepare`; ${VARIABLES} of the environment are filled in. Not told "
        "where real hospitals hold their own (`hospitals.assignment: {by: site}`).",
    )
    fraction: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Fraction of each hospital's training patients that train, patients whole, those of a smaller "
        "fraction among those of a larger one. A list draws a learning curve: each smaller one adds variants of the "
        "arms, such as `federated-fraction0.25`.",
    )


class HospitalsConfig(Section):
    """Who holds which patients."""

    assignment: Assignment = Field(description="The rule by which patients are dealt to hospitals.")
    seed: list[int] = Field(
        default=[0],
        min_length=1,
        description="Seed of the assignment and of the validation patients; a list, or a range such "
        "as 0..19, repeats the study on new draws.",
    )
    validation_fraction: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Fraction of each hospital's training patients that is kept to set decision thresholds; 0 lets all "
        "of them train, and metrics at a cut stay empty.",
    )
    schedule: list[Attendance] = Field(
        default_factory=list,
        description="Hospitals that join late, leave, are away in rounds or are slow, in the arm `scheduled`.",
    )

    @field_validator("seed", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return list_of_seeds(value)

    @field_validator("seed")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        return different_seeds(value)

    @property
    def draw(self) -> int:
        """The seed of the draw at hand: the first, and the only one of a single deployment (`for_cell`)."""
        return self.seed[0]


class AugmentationConfig(Section):
    """The fixed set of views of an image: flips, and crops of each flip."""

    flips: Literal["none", "horizontal", "both", "dihedral"] = Field(
        default="horizontal",
        description="Mirror images: none, left-right, or left-right and top-bottom; `dihedral`, all eight ways to turn "
        "and mirror a square.",
    )
    crops: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Crops of 7/8 of the side beside the whole image: 4 corners, then the centre.",
    )
    views_per_step: int = Field(
        default=1,
        ge=1,
        description="Views of each image that a training step averages over (at most all of them).",
    )


class OptimizerConfig(Section):
    """The hospital's optimiser; its state stays at the hospital and lives on between rounds."""

    name: Literal["adamw", "sgd"] = Field(default="adamw", description="AdamW, or SGD with momentum.")
    learning_rate: float = Field(gt=0, description="Step size.")
    head_learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Step size of the head where layers of the network learn too; none takes that of them.",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled (adamw) or L2 (sgd) weight decay.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd; adamw ignores it.")

    def rate(self, tensor: str) -> float:
        """Return the step size of the trained tensor of this name."""
        return self.head_learning_rate if self.head_learning_rate and tensor.startswith(HEAD) else self.learning_rate

    def at(self, rate: float) -> "OptimizerConfig":
        """Return the same with this step size, for all tensors."""
        return self.model_copy(update={"learning_rate": rate, "head_learning_rate": None})


Loss = Literal["logistic", "contrast"]


class DiagnosisConfig(Section):
    """The classifier of lesions: benign or malignant."""

    network: str = Field(description="Name of a transformer in timm.")
    weights: str = Field(
        default="hub",
        description="`hub` (timm downloads them), `none` (random), or the path of a safetensors file.",
    )
    image_size: int = Field(ge=16, le=2048, description="Side of the network's input in pixels.")
    features: Literal["pooled"] | list[int] = Field(
        default="pooled",
        description="What the head reads: the network's pooled output, or for each block listed (1 = the first) its "
        "class token and the mean and standard deviation of its patch tokens.",
    )
    directions: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="What the head reads is projected on so many directions in which drawn patches differ most, which "
        "no patient has a part in; none reads everything.",
    )
    whitening: float = Field(
        default=0.25,
        ge=0,
        le=0.5,
        description="Along a direction of variance v numbers are divided by v to this power: 0, as they are; 0.5, "
        "equal spread.",
    )
    train: str = Field(
        default="head",
        pattern=r"^(head|bias|all|last_blocks:[1-9][0-9]*)$",
        description="What is trained: `head`, `last_blocks:N` (and the head), `bias` (all biases and the head), `all`.",
    )
    head: Literal["random", "weights"] = Field(
        default="random",
        description="What the head begins with: random numbers, or the head that `fedmammo phantom pretrain` left in "
        "the file of weights, which reads the same blocks.",
    )
    stand_ins: Literal["plain", "varied"] = Field(
        default="plain",
        description="The drawn patches that centre and scale what the head reads, and give its directions: as they are "
        "drawn, or varied as films and cuts vary.",
    )
    harmonisation: Literal["none", "calibration", "window", "histogram"] = Field(
        default="none",
        description="What is done to images before the network: `none`; `calibration`, the digitiser's known response "
        "curve is undone; `window`, every image's gray values are stretched over the full scale; `histogram`, every "
        "image gets the same histogram.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Arithmetic of the network's matrix products; its head, gradients and their clipping are float32.",
    )
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig, description="Views of an image.")
    optimizer: OptimizerConfig = Field(description="How a hospital steps.")
    patient_fraction: float = Field(
        default=1.0, gt=0, le=1, description="Fraction q of the holder's training patients in one step."
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Labels become s/2 and 1 - s/2.")
    loss: Loss = Field(
        default="logistic",
        description="`logistic`, cross-entropy; or `contrast`, of a head: a step goes along the difference of the "
        "classes' means, whatever the head says so far, so that one step can spend a whole budget on one sum.",
    )

    @model_validator(mode="after")
    def _contrast_is_of_heads(self) -> "DiagnosisConfig":
        if self.loss == "contrast" and self.train != "head":
            raise ValueError("loss: contrast is of a head alone; it has train: head")
        return self

    @model_validator(mode="after")
    def _a_head_alone_has_one_rate(self) -> "DiagnosisConfig":
        if self.optimizer.head_learning_rate and self.train == "head":
            raise ValueError("optimizer.head_learning_rate: with train: head the head's step size is learning_rate")
        return self

    @field_validator("features", mode="before")
    @classmethod
    def _pooled_or_blocks(cls, value: Any) -> Any:
        blocks = isinstance(value, list) and bool(value) and all(type(number) is int for number in value)
        if value != "pooled" and not (blocks and value[0] >= 1 and value == sorted(set(value))):
            raise ValueError("expected pooled, or a list of block numbers that start at 1, ascend and do not repeat")
        return value


class FederationConfig(Section):
    """Rounds of training: every arm takes rounds x local_steps steps."""

    rounds: int = Field(ge=1, description="Rounds of training.")
    local_steps: int = Field(ge=1, description="Steps that each hospital takes in a round.")
    averaged_rounds: int = Field(
        default=1, ge=1, description="The final model is the mean of the models after so many last rounds."
    )
    strategy: Strategy = Field(
        default=FedAvg(),
        description="How the federated arm combines models: a name and its parameters. Of a list, the first is that of "
        "all arms, and each further one adds a variant of the federated arm, such as `federated-FedProx`.",
    )
    personal: Personal = Field(
        default=FineTuning(),
        description="How the arm `personalized` makes each hospital a model of its own: a name and its parameters.",
    )
    min_hospitals: int = Field(
        default=1,
        ge=1,
        description="A round with fewer answers than this (or than all, if fewer take part) ends the study.",
    )


class TrackConfig(Section):
    """Where a study's course can be watched while it runs; all on this machine. Each needs the extra of its name."""

    tensorboard: str | None = Field(default=None, description="TensorBoard: folder of its event files.")
    mlflow: str | None = Field(
        default=None, description="MLflow: folder of its database mlflow.db, or the database as sqlite:///FILE."
    )
    wandb: str | None = Field(
        default=None, description="Weights & Biases: folder of its offline runs, which nothing here sends anywhere."
    )

    @field_validator("*")
    @classmethod
    def _on_this_machine(cls, value: str | None, info: ValidationInfo) -> str | None:
        database = info.field_name == "mlflow" and value is not None and value.startswith("sqlite:///")
        if value is not None and (not value.strip() or ("://" in value and not database)):
            raise ValueError("expected a folder" + (", or sqlite:///FILE" if info.field_name == "mlflow" else ""))
        return value


class LinkConfig(Section):
    """How the server reaches Flower's SuperLink. Paths are those of the coordinator's machine."""

    address: str = Field(pattern=r"^\S+:\d+$", description="Host and port of the SuperLink, as its certificate has it.")
    certificate: str = Field(description="File of the certificate of the authority that signed the SuperLink's own.")
    secret: str = Field(
        description="File of the secret by which the SuperLink knows the server "
        "(its own `--superexec-auth-secret-file`)."
    )
    patients: Literal["own", "drawn"] = Field(
        default="own",
        description="`own`; or `drawn`: hospitals do everything with patients that they draw, and open none of their "
        "own, as `fedmammo deploy canary` does.",
    )


class EngineConfig(Section):
    """Where hospitals compute, and where that can be watched.

    Results do not depend on name, address, spread, features and track, nor on timeout while all answer in time.
    """

    name: Literal["ray", "inline", "superlink"] = Field(
        default="ray",
        description="`ray`, Flower's simulation; `inline`, this process; `superlink`, real hospitals.",
    )
    link: LinkConfig | None = Field(default=None, description="The SuperLink to which real hospitals connect.")
    address: str | None = Field(default=None, description="Address of an existing Ray cluster; none starts one here.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where hospitals compute.")
    spread: Literal["auto", "hospitals", "deployments"] = Field(
        default="auto",
        description="What Ray runs side by side: `hospitals`, where what they do is heavy; `deployments`, whole ones, "
        "each in one process, where it is light; `auto`: deployments where linear heads alone are trained.",
    )
    threads_per_hospital: int = Field(
        default=1, ge=1, le=1024, description="Processor threads (and Ray CPUs) of a hospital."
    )
    gpus_per_hospital: float = Field(default=0.0, ge=0, description="Share of a GPU that Ray reserves for a hospital.")
    features: str | None = Field(
        default=None,
        description="Folder for what frozen networks make of images, for this study and others; if not given it is the "
        "cohort's own, or the run's where the cohort cannot be written.",
    )
    checkpoint_seconds: float = Field(
        default=3.0,
        ge=0,
        description="Rounds are kept so often at most, and the last one; after a restart those since are done again. "
        "Under a budget every round is kept.",
    )
    timeout: float = Field(
        default=3600.0, gt=0, description="Seconds that the server waits for the answers of a round."
    )
    track: TrackConfig = Field(default_factory=TrackConfig, description="Trackers that show the study's course.")
