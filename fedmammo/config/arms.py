"""What arms need of a study, and of each other."""

from typing import TYPE_CHECKING

from fedmammo.config.arm import AVERAGED, Arm, ArmName
from fedmammo.synthesis.sources import FromGan

if TYPE_CHECKING:
    from fedmammo.config.study import StudyConfig


def recipes(study: "StudyConfig", arm: Arm) -> tuple[ArmName, ...]:
    """Name the arms of which an arm is made that trains nothing itself: `chosen` may take `averaged` too."""
    if not arm.derived:
        return ()
    federated = tuple(name for name in study.arms if Arm.of(name).kind == "federated")
    return (*federated, AVERAGED) if arm.kind == "chosen" and AVERAGED in study.arms else federated


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
    for name in dict.fromkeys(name for name in arms if Arm.of(name).derived):
        _check_derived(study, name, kinds.count("federated"))


def _check_derived(study: "StudyConfig", name: str, candidates: int) -> None:
    if name != Arm.of(name).kind or study.arms[name]:
        raise ValueError(f"arms: {name}: has no variants and no overrides; give those of federated")
    if candidates < 2:
        raise ValueError(f"arms: {name} is made of federated and its variants; add one, such as federated-slow")
    if study.has_budget:
        raise ValueError(
            f"arms: {name}: takes no budget, as nobody counts a choice on patients, nor what several variants cost "
            "together; leave out settings with one"
        )
    if name == "chosen" and isinstance(study.synthesis, FromGan):
        raise ValueError("arms: chosen: takes no images of GANs, which have seen the inner folds; leave it out")
