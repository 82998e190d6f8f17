"""costs.csv of a study that has not run: rounds, steps, traffic, simulated hours; from sizes and profiles alone."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fedmammo.config.deployment import Deployment

HEADER = 128  # bytes before the numbers of a tensor that travels, as NumPy's format has them (NEP 1)
WIDTH = 4  # bytes of a number, float32


class Member(NamedTuple):
    """A holder of patients, as it computes and sends.

    Attributes:
        name: of the hospital, or `all`.
        patients: that it trains on in one deployment.
        images: of them.
        uplink_megabits_per_second: of its line.
        images_per_second: of its computer.
    """

    name: str
    patients: int
    images: int
    uplink_megabits_per_second: float
    images_per_second: float


def bytes_of(shapes: Mapping[str, Sequence[int]]) -> int:
    """Return how many bytes tensors of these shapes are when they travel."""
    total = 0
    for shape in shapes.values():
        count = 1
        for side in shape:
            count *= side
        total += HEADER + WIDTH * count
    return total


def images_per_step(images: int, deployment: Deployment) -> float:
    """Return how many views of images a holder of so many reads in a step, on average."""
    augmentation, fraction = deployment.diagnosis.augmentation, deployment.diagnosis.patient_fraction
    flips = {"none": 1, "horizontal": 2, "both": 4, "dihedral": 8}[augmentation.flips]
    return fraction * images * min(augmentation.views_per_step, flips * (1 + augmentation.crops))


def costs_of(deployment: Deployment, members: Sequence[Member], sent: int) -> list[dict[str, object]]:
    """Return a row for each member of a deployment, as `costs.csv` of a run has it.

    Args:
        deployment: the first of its arm and setting.
        members: who trains in it.
        sent: bytes of what is trained (`bytes_of`); a model comes and goes each round where it is federated.
    """
    federation, rows = deployment.federation, []
    travels = sent if deployment.arm.federated else 0
    for one in members:
        steps = federation.rounds * federation.local_steps
        seconds = steps * images_per_step(one.images, deployment) / one.images_per_second
        seconds += federation.rounds * 8e-6 * 2 * travels / one.uplink_megabits_per_second
        rows.append({
            "arm": deployment.arm_name,
            "setting": deployment.setting_name,
            "hospital": one.name,
            "rounds": federation.rounds,
            "steps": steps,
            "simulated_hours": seconds / 3600,
            "megabytes_up": federation.rounds * travels / 1e6,
            "megabytes_down": federation.rounds * travels / 1e6,
        })  # fmt: skip
    return rows
