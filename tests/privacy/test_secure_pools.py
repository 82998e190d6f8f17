"""Sums of features that hospitals add up under masks: what the server reads of them, and a hospital that fails."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from fedmammo.config.study import parse
from fedmammo.privacy.masks import Party, public_key
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import Grid
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.secret import Secret
from fedmammo.stages.embedding import Embedding
from tests.privacy.test_central import turn_of

GAN = {
    "source": "gan", "method": "mean_embedding", "images": 8, "image_size": 32, "width": 4, "rounds": 1,
    "local_steps": 1, "batch": 4, "phantom_steps": 0,
}  # fmt: skip
NAMES = ("hospital-1", "hospital-2", "hospital-3")


def test_the_mean_is_read_and_how_much_noise_it_has_is_told(deploy: Callable[..., Any], new_study: Any) -> None:
    """Of three hospitals' vectors of 402 zeros; shares are for two, so that three have 3/2 of the planned variance."""
    content = new_study() | {"arms": ["federated"], "settings": ["synthetic-epsilon-6"], "synthesis": GAN}
    content |= {"federation": {"rounds": 1, "local_steps": 1}, "privacy": {"trust": "secure", "colluding": 1}}
    deployment = parse(content, "").deployment("federated", "synthetic-epsilon-6")
    mechanism, patients = Mechanism("embedding", 2.0, 3.0, 1.0, 1, 1), dict(zip(NAMES, (5, 6, 6), strict=True))
    plan = Plan(deployment.study, "secure", 6.0, 1e-4, (mechanism,), patients, 0, 1)
    secrets = {name: Secret.of(Path(name), 1) for name in NAMES}
    keys = {name: public_key(secret) for name, secret in secrets.items()}
    sent = {}
    for name, secret in secrets.items():
        masks = Party(name, keys, 1, NAMES).masks(plan, "embedding", 1, {}, secret)
        zeros = [torch.zeros(2, 201, dtype=torch.int64)]
        sent[name] = {"embedding": masks.hide(zeros, Grid.of(2.0, 3.0, 402), secret.stream("r", "noise", 0))[0]}
    mean, kept = Embedding().at_server(turn_of(deploy(), sent, 1, plan, deployment=deployment))
    expected = 2 * 3 * 1.5**0.5 / 17
    assert float(kept["spread"]) == pytest.approx(expected)
    assert float(mean["embedding"].std()) == pytest.approx(expected, rel=0.12)
    assert mean["embedding"].dtype == torch.float32


def test_a_hospital_that_fails_when_sums_of_features_are_added_up(
    phantom_study: dict[str, Any], run_inline: Callable[..., Path], without_radiomics: None, tmp_path: Path
) -> None:
    """It was charged, nobody read it; the others were asked again, and both of their releases count in the pool's
    guarantee and in what was spent.
    """
    content = phantom_study | {"arms": ["federated"], "settings": ["synthetic-epsilon-6"], "synthesis": GAN}
    content |= {"federation": {"rounds": 1, "local_steps": 1}, "privacy": {"trust": "secure", "dropouts": 1}}
    content["faults"] = [{"hospital": "hospital-2", "kind": "late"}]
    out = run_inline(parse(content, "pools"), tmp_path / "run")
    (rounds,) = out.glob("deployments/generator-*/rounds.csv")
    told = [status.partition(":")[0] for status in pd.read_csv(rounds)["status"]]
    assert told == ["void", "failed", "void", "ok", "out since it failed in round 1", "ok"]
    attempts = {}
    for name in NAMES:
        (path,) = (out / "hospitals" / name / "ledger").glob("generator-*.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        attempts[name] = [line["attempt"] for line in lines if "request" in line]
    assert attempts == {"hospital-1": [1, 2], "hospital-2": [1], "hospital-3": [1, 2]}
    (row,) = pd.read_csv(out / "guarantees.csv").to_dict("records")
    assert 5.9 < row["epsilon"] <= 6 and (row["trust"], row["end_to_end"]) == ("secure", "patient")
    assert pd.read_csv(out / "synthetic/pools.csv")["guarantee"].tolist() == ["epsilon 6 at delta 0.0001 per patient"]
