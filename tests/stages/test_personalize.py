"""Personalising at a hospital: only where the study says so, and never where patients are protected."""

from pathlib import Path
from typing import Any

import pytest

from fedmammo.config.deployment import Deployment
from fedmammo.models.classifier import initial_model
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.hospital import work
from fedmammo.stages.stage import Job


def test_no_other_arm_is_asked_for_a_hospitals_own_model(
    phantom_study: dict[str, Any], hospitals_of: Any, tmp_path: Path
) -> None:
    hospitals = hospitals_of(phantom_study, tmp_path)
    deployment = hospitals.config.deployment("federated", "real")
    hospitals.begin(deployment)
    incoming = {"arrays": initial_model(deployment.diagnosis, 0)}
    with pytest.raises(RefusalError, match="round 1 was asked for, 0 were agreed to"):
        hospitals.work("hospital-1", deployment, "personalize", 1, incoming)


def test_nothing_is_made_at_home_of_patients_under_a_budget(
    phantom_study: dict[str, Any], hospitals_of: Any, tmp_path: Path
) -> None:
    """Whatever the message says: of a federated deployment, and of one that nobody could have planned."""
    phantom_study |= {"settings": ["real-epsilon-6"], "privacy": {"secret_seed": 1}}
    hospitals = hospitals_of(phantom_study, tmp_path)
    deployment = hospitals.config.deployment("federated", "real-epsilon-6")
    plan = hospitals.begin(deployment)
    incoming = {"arrays": initial_model(deployment.diagnosis, 0)}
    with pytest.raises(RefusalError, match="no budget covers what personalising learns"):
        hospitals.work("hospital-1", deployment, "personalize", 1, incoming, plan=plan.digest)
    forged: Deployment = deployment.model_copy(update={"arm_name": "personalized"})
    with pytest.raises(RefusalError, match="not a deployment that is understood here"):
        work(hospitals.sites["hospital-1"], Job("declare", forged.digest), {}, forged.model_dump_json())
