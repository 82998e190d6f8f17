"""What arms need of a study, and of each other."""

from typing import TYPE_CHECKING

from fedmammo.config.arm import Arm

if TYPE_CHECKING:
    from fedmammo.config.study import StudyConfig


def check_arms(study: "StudyConfig") -> None:
    """Raise ValueError where an arm needs what the study does not have."""
    arms, kinds = study.arms, [Arm.of(name).kind for name in study.arms]
    if "ensemble" in kinds and ("local" not in arms or arms.get("ensemble")):
        raise ValueError("arms: ensemble averages what the arm local scores; add local, and override that one alone")
    if "ensemble" in kinds and "ensemble" not in arms:
        raise ValueError("arms: ensemble has no variants")
    if ("scheduled" in kinds) != bool(study.hospitals.schedule):
        raise ValueError("hospitals.schedule: belongs to the arm scheduled; give both, or none")
    if "personalized" in kinds and study.has_budget:
        raise ValueError("arms: personalized takes no budget yet; leave out settings with one")
    names = [one.hospital for one in study.hospitals.schedule]
    if len(set(names)) < len(names):
        raise ValueError("hospitals.schedule: names a hospital twice; say all of it in one entry")
    if "chosen" in kinds:
        _check_chosen(study, kinds.count("federated"))


def _check_chosen(study: "StudyConfig", candidates: int) -> None:
    if "chosen" not in study.arms or study.arms["chosen"]:
        raise ValueError("arms: chosen has no variants and no overrides; give those of federated")
    if candidates < 2:
        raise ValueError("arms: chosen chooses among federated and its variants; add one, such as federated-slow")
    if study.has_budget:
        raise ValueError(
            "arms: chosen chooses on patients, which no budget counts; leave out settings with one, and choose theirs "
            "on drawn patients"
        )
