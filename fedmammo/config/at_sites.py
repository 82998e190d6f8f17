"""What a study at real hospitals may say, and one that is simulated may not, and the other way round."""

from typing import TYPE_CHECKING

from fedmammo.config.arm import Arm
from fedmammo.config.setting import Setting
from fedmammo.hospitals.rules import BySite

if TYPE_CHECKING:
    from fedmammo.config.study import StudyConfig


def is_at_sites(study: "StudyConfig") -> bool:
    """Whether hospitals hold their own patients, and the server holds none."""
    return isinstance(study.hospitals.assignment, BySite)


def keys_of(study: "StudyConfig") -> dict[str, str]:
    """Return real hospitals' public keys, by name; none in a simulation."""
    rule = study.hospitals.assignment
    return rule.keys if isinstance(rule, BySite) else {}


def check_place(study: "StudyConfig") -> None:
    """Raise ValueError where a study asks of real hospitals what only a simulation has, or the other way round."""
    for wrong, why in _at_sites(study) if is_at_sites(study) else _simulated(study):
        if wrong:
            raise ValueError(why)


def _at_sites(study: "StudyConfig") -> list[tuple[bool, str]]:
    pooled = [name for name in study.arms if Arm.of(name).pooled]
    return [
        (
            bool(study.cohort.path),
            "cohort.path: real hospitals hold their own patients, and the server opens no cohort; leave it out",
        ),
        (
            study.engine.name != "superlink" or study.engine.link is None,
            "engine: real hospitals connect to a SuperLink; set engine.name: superlink and engine.link",
        ),
        (
            bool(pooled),
            f"arms: {', '.join(pooled)} needs all patients in one place, which real hospitals never have; name other "
            "arms, and simulate it on patients that you have",
        ),
        (
            len({Setting.of(name).epsilon is None for name in study.settings}) > 1,
            "settings: some have a budget and some have none; patients whom a budget protects are used in nothing "
            "without one, so that real hospitals would refuse; make two studies, with patients of their own",
        ),
        (study.hospitals.seed != [0], "hospitals.seed: nobody deals real hospitals' patients; leave it out"),
        (bool(study.faults), "faults: belong to simulations"),
        (study.privacy.secret_seed is not None, "privacy.secret_seed: real hospitals have secrets of their own"),
    ]


def _simulated(study: "StudyConfig") -> list[tuple[bool, str]]:
    return [
        (not study.cohort.path, "cohort.path: is missing; give a folder made by fedmammo data prepare"),
        (
            study.engine.name == "superlink" or study.engine.link is not None,
            "engine: a SuperLink is for real hospitals (hospitals.assignment: {by: site}); set name: ray or inline",
        ),
    ]
