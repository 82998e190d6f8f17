"""Papers, data and software that a run rests on, by what they are for."""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from fedmammo.cohort.readers.listing import CITATION
from fedmammo.config.setting import Setting
from fedmammo.config.study import StudyConfig


def cited(study: StudyConfig, origin: str) -> dict[str, list[str]]:
    """Return what to cite; `origin`: what the cohort says of its source, if it does."""
    works, strategy = _works(), study.federation.strategy.name
    private = any(Setting.of(name).epsilon is not None for name in study.settings)
    found = {
        "Data": [*([origin] if origin else []), *([works["tcia"]] if CITATION in origin else [])],
        "The study that this software builds on": [works["reference"]],
        "Federation": [works["flower"], *([works["strategies"][strategy]] if strategy in works["strategies"] else [])],
        "Privacy": [*works["privacy"], *([works["accounting"]] if _samples(study) else [])] if private else [],
        "Statistics": works["statistics"],
    }
    return {what: some for what, some in found.items() if some}


def _samples(study: StudyConfig) -> bool:
    """Whether steps under a budget may take a part of the patients, so that a library composes their costs."""
    given = [overrides.get("diagnosis.patient_fraction", 1) for overrides in study.settings.values()]
    return min(study.diagnosis.patient_fraction, study.privacy.generator_fraction, *given) < 1


@cache
def _works() -> dict[str, Any]:
    path = files("fedmammo.report") / "assets" / "citations.yaml"
    works: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return works
