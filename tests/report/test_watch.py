"""A study is watched while it runs: by this machine's browser alone, growing, and ending in the report."""

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fedmammo.config.study import StudyConfig
from fedmammo.federation.spread import FINISHED
from fedmammo.report.watch import Watch
from tests.report.browser import chromium
from tests.report.made_up import made_up

Events = list[dict[str, Any]]


@pytest.fixture
def study(tmp_path: Path) -> StudyConfig:
    return made_up(tmp_path, hospitals=2)


def event(study: StudyConfig, number: int, loss: float = 0.5) -> dict[str, Any]:
    """What the server reports after a round of the first deployment."""
    deployment = next(iter(study.deployments))
    row = {"stage": "train", "round": number, "hospital": "hospital_1", "status": "ok", "loss": loss}
    place = {"name": deployment.name, **deployment.place}
    states = {"hospital_1": "ok", "hospital_2": "failed: away"}
    rows = [{**row, "epsilon_spent": None}]
    return {"deployment": place, "stage": "train", "round": number, "rounds": 3, "hospitals": states, "rows": rows}


def get(url: str, host: str = "") -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host} if host else {})) as answer:
        content: bytes = answer.read()
    return content.decode()


def test_rounds_come_as_they_are_told(study: StudyConfig, tmp_path: Path) -> None:
    with Watch(study, tmp_path) as watch:
        assert watch.url.startswith("http://127.0.0.1:")
        assert "0 of 3 deployments are finished" in get(watch.url)
        watch.update(event(study, 1, loss=0.625))
        now = get(f"{watch.url}now")
        assert "1 of 2" in now  # hospitals that answered
        assert "0.625" in now
        watch.update(event(study, 2) | {"stage": FINISHED, "rows": []})
        assert "1 of 3 deployments are finished" in get(f"{watch.url}now")


@pytest.mark.parametrize("kind", ["name of elsewhere", "key"])
def test_nobody_else_is_answered(study: StudyConfig, tmp_path: Path, kind: str) -> None:
    """A page of elsewhere whose name was made to lead here, and whoever does not know the key."""
    with Watch(study, tmp_path) as watch:
        root = watch.url.rsplit("/", 2)[0]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{root}/") if kind == "key" else get(watch.url, host="evil.example:80")


def test_a_browser_sees_it_grow_and_end_in_the_report(study: StudyConfig, tmp_path: Path) -> None:
    with chromium() as browser:
        page = browser.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        with Watch(study, tmp_path) as watch:
            page.goto(watch.url)
            watch.update(event(study, 1))
            watch.update(event(study, 2, loss=0.25))
            page.wait_for_selector("#now .mark-line path", timeout=10_000)
            assert "train" in page.inner_text("#now")
        page.wait_for_selector("#answer .mark-symbol path", timeout=10_000)
        assert page.locator("#now").count() == 0
        assert complaints == []
