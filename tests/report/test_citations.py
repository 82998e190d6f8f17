"""What is cited depends on what a run used."""

from typing import Any

import pytest

from fedmammo.cohort.readers.listing import CITATION
from fedmammo.config.study import parse
from fedmammo.report.citations import cited
from fedmammo.strategies.registry import STRATEGIES


def test_data_are_cited_as_the_cohort_says(small_study: dict[str, Any]) -> None:
    study = parse(small_study, "")
    assert "Data" not in cited(study, "")
    assert cited(study, "Somebody 2020")["Data"] == ["Somebody 2020"]
    assert "Cancer Imaging Archive (TCIA)" in cited(study, f"licence CC BY 3.0; {CITATION}")["Data"][1]


def test_accounting_is_cited_where_it_is_used(small_study: dict[str, Any]) -> None:
    assert "Privacy" not in cited(parse(small_study, ""), "")
    whole = cited(parse(small_study | {"settings": ["real-epsilon-6"]}, ""), "")["Privacy"]
    sampled = {"real-epsilon-6": {"diagnosis.patient_fraction": 0.5}}
    found = cited(parse(small_study | {"settings": sampled}, ""), "")["Privacy"]
    assert not any("dp-accounting" in work for work in whole) and "dp-accounting" in found[-1]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_has_its_paper(small_study: dict[str, Any], name: str) -> None:
    study = parse(small_study, "")
    named = study.federation.strategy.model_copy(update={"name": name})
    study = study.model_copy(update={"federation": study.federation.model_copy(update={"strategy": named})})
    assert len(cited(study, "")["Federation"]) == 2


def test_a_strategy_of_ones_own_has_none(small_study: dict[str, Any]) -> None:
    study = parse(small_study, "")
    own = study.federation.strategy.model_copy(update={"name": "my.package:Own"})
    study = study.model_copy(update={"federation": study.federation.model_copy(update={"strategy": own})})
    assert len(cited(study, "")["Federation"]) == 1
