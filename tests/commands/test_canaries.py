"""Trap 27: what an audit sees through the hospital's own door, in a sound mechanism and in broken ones."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.commands.canaries import Audited, Found, as_audited
from fedmammo.config.study import parse
from fedmammo.errors import InputError
from fedmammo.evaluation.attacks import canary_bounds
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.records import true_records
from fedmammo.privacy import central
from fedmammo.privacy.accounting import mu_of
from fedmammo.privacy.ledger import Ledger
from fedmammo.privacy.secret import Secret
from fedmammo.training import steps

Attack = Callable[..., Found]
EPSILON = 20.0
MU = mu_of(EPSILON, 1e-4)  # 3.71


@pytest.fixture(autouse=True)
def the_same_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets and pseudonyms that are the same every time: two attacks meet the same noise."""
    monkeypatch.setattr("fedmammo.privacy.secret.os.urandom", lambda count: bytes(range(count)))
    monkeypatch.setattr("fedmammo.cohort.store.secrets.token_bytes", lambda count: bytes(range(count)))


@pytest.fixture
def attack(phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path) -> Attack:
    """Attack a hospital of ten patients and forty-two canaries, whose head is trained under epsilon 20."""
    phantom_study["diagnosis"]["optimizer"] = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.0}
    phantom_study["settings"] = ["real-epsilon-20"]

    def attacked(trust: str = "local", local_steps: int = 1, **changes: Any) -> Found:
        phantom_study["federation"] = {"rounds": 8 // local_steps, "local_steps": local_steps}
        phantom_study["privacy"] = {"trust": trust, "clipping_norm": 0.2}
        phantom_study["diagnosis"] |= changes
        deployment = as_audited(parse(phantom_study, "small").deployment("federated", "real-epsilon-20"), EPSILON)
        records = true_records(phantom_cohort)
        inputs = Inputs(phantom_cohort, deployment.diagnosis, torch.device("cpu"), records)
        training = phantom_cohort.manifest[phantom_cohort.manifest["split"] == "train"]
        patients = [rows.to_numpy() for rows in training.groupby("patient").groups.values()][:10]
        inputs.compute(np.concatenate(patients))
        (folder := tmp_path / f"{trust}-{len(list(tmp_path.iterdir()))}").mkdir()
        return Audited(folder, inputs, patients, phantom_cohort, deployment, 100, seed=3).attack()

    return attacked


def mu_in(found: Found) -> tuple[float, float]:
    """The interval of mu, widened by what the 22 numbers without canaries leave open of the noise: four errors."""
    mu = canary_bounds(found.there, found.scores, 20, 1e-4)["mu"]
    doubt = 1 + 4 / np.sqrt(2 * 21)
    return mu.low / doubt, mu.high * doubt


@pytest.mark.parametrize("trust", ["local", "central"])
def test_a_sound_mechanism_shows_what_was_claimed(attack: Attack, trust: str) -> None:
    """Canaries are found as the plan's mu says, whoever adds the noise; noises are independent."""
    found = attack(trust)
    low, high = mu_in(found)
    assert low < MU < high and low > 1
    assert found.noise.low < 0 < found.noise.high or abs(found.noise.value) < 0.3
    assert found.replay.value == 1
    assert len(found.there) == 42 and 0 < found.there.sum() < 42


def test_steps_and_momentum_that_move_the_model_far_hide_nothing(attack: Attack) -> None:
    """What patients add is known of a step from a known model: whole rounds of steps are taken one by one."""
    optimizer = {"name": "sgd", "learning_rate": 100.0, "momentum": 0.9}
    found = attack(local_steps=4, optimizer=optimizer)
    low, high = mu_in(found)
    assert low < MU < high and low > 1
    assert abs(found.noise.value) < 0.3


def test_noise_that_is_used_again_in_every_round_is_seen(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Secret.stream
    monkeypatch.setattr(Secret, "stream", lambda self, _, purpose, step: stream(self, "alike", purpose, step))
    found = attack()
    assert found.noise.low > 0.5


def test_images_that_are_clipped_in_place_of_patients_are_seen(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Canaries have one, two or three images: what they add is twice the clipping norm on average, and mu as large."""
    whole = steps.patient_gradients

    def by_image(*arguments: Any) -> Iterator[Sequence[Tensor]]:
        reader, parameters, drawn = arguments
        count = len(drawn.rows)
        alone = steps.Drawn(drawn.rows, drawn.views, drawn.targets, torch.ones(count), torch.arange(count))
        return whole(reader, parameters, alone)

    sound = canary_bounds(*attack()[:2], 20, 1e-4)["mu"].value
    monkeypatch.setattr(steps, "patient_gradients", by_image)
    found = attack()
    found_mu = canary_bounds(found.there, found.scores, 20, 1e-4)["mu"].value
    assert found_mu > 1.4 * sound


def test_a_trusted_server_that_adds_no_noise_is_seen(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(central, "noised", lambda total, *_: list(total))
    low, _ = mu_in(attack("central"))
    assert low > MU


def test_an_answer_that_is_drawn_again_is_seen(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that forgets what it released: the second answer is refused or differs, and costs again."""
    digest, calls = Secret.digest, iter(range(1000))
    monkeypatch.setattr(Secret, "digest", lambda self, request: digest(self, {**request, "call": next(calls)}))
    monkeypatch.setattr(Ledger, "has", lambda *_: False)
    with pytest.raises(Exception, match="one more than the 8 agreed to"):
        attack()


def test_canaries_are_for_heads(attack: Attack) -> None:
    with pytest.raises(InputError, match=r"^diagnosis\.train: canaries are looked for in heads alone"):
        attack(train="last_blocks:1")
