"""What a study costs patients' privacy: for a privacy officer, who decides what may leave."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Asked, Block, Cell, Figure, Rows, Table, Text, text
from fedmammo.report.chapter import Chapter, cells
from fedmammo.report.charts import Chart, finished, with_choice
from fedmammo.report.privacy_files import files_of
from fedmammo.report.privacy_words import (
    ASSUMPTIONS,
    NOBODY_PROTECTED,
    NOT_PROTECTED,
    PROTECTED,
    REAL,
    SEEDED,
    SIMULATED,
    TERMS,
    UNFINISHED,
)
from fedmammo.run.guarantees import NONE, PATIENT
from fedmammo.run.privacy import STRICT, TOGETHER
from fedmammo.run.results import Run

ASKED = (
    "Purpose: what the study, and each release, is for",
    "Recipients: who gets which files",
    "Retention: how long what is kept, and who deletes it",
    "Legal basis, and approval of an ethics committee",
    "Decision, with its conditions",
    "Name, signature and date",
)
_GUARANTEES = {
    "arm": "arm", "setting": "setting", "epsilon": "epsilon", "delta": "delta", "end_to_end": "end to end",
    "best_attack": "found by the best attack", "protection": "in words", "epsilon_exchanged": "epsilon, exchanged",
    "patients": "fewest patients",
}  # fmt: skip
_AGAINST = {"arm": "arm", "setting": "setting", "trust": "trust", "adversary": "this protects against"}
_SPENT = {
    "arm": "arm", "setting": "setting", "hospital": "hospital", "stage": "stage", "releases": "releases",
    "steps": "steps", "epsilon": "epsilon", "delta": "delta", STRICT: "epsilon at delta of one in a million",
    "noise_multiplier": "noise multiplier", "clipping_norm": "clipping norm", "rate": "rate",
}  # fmt: skip
_AUDIT = {
    "setting": "setting", "audit": "attack", "measure": "measure", "value": "found", "ci_low": "from",
    "ci_high": "to", "ceiling": "ceiling", "claimed": "claimed",
}  # fmt: skip
COLOURS = {"generator": "#e69f00", "embedding": "#e69f00", "train": "#0072b2"}
NAMES = "{'generator': 'generator', 'embedding': 'sums of features', 'train': 'classifier'}[datum.label]"


def blocks(run: Run) -> Sequence[Block]:
    """Return what is promised, what it cost, what attacks found, what is assumed, and which files may leave."""
    private, promised = with_budget(run), run.guarantees
    without = promised["epsilon"].isna() & (promised["end_to_end"] == NONE)
    bare = promised[without]
    if private.empty and bare.empty:
        return [text("No patient's data had a part in any model of this study.", kind="answer"), files_of(run)]
    if private.empty:
        return [
            text("Nothing in this study protects patients: no setting has a privacy budget.", kind="answer"),
            text("There is no bound on what its models may tell about a patient. A setting such as real-epsilon-… "
                 "would set one; the command fedmammo privacy plan says at what cost, before anything runs."),
            files_of(run),
        ]  # fmt: skip
    return [
        *(text(sentence(one), kind="notice") for one in _notices(run)),
        *_answers(private),
        *([text("Without a budget, so that nothing protects the patients whom they learned from: ",
                *distinct(bare, "setting"), ".", kind="notice")] if len(bare) else []),
        text(f"{sentence(PROTECTED)} {sentence(NOT_PROTECTED)}" if len(held(private)) else NOBODY_PROTECTED),
        Table("What is promised, where anything is: the most over hospitals, seeds, draws and folds",
              promised[~without], _GUARANTEES, "guarantees"),
        *([Table("Against whom", held(private), _AGAINST, "guarantees")] if len(held(private)) else []),
        *_spent(run),
        _terms(held(private)),
        *_audit(run, private),
        Rows("What is assumed", ["assumed", "if it is not so"], ASSUMPTIONS),
        files_of(run),
        text("To be filled in by the privacy officer:", kind="small"),
        *(Asked(label) for label in ASKED),
    ]  # fmt: skip


def with_budget(run: Run) -> pd.DataFrame:
    """Return the rows of guarantees that have a budget."""
    return run.guarantees[run.guarantees["epsilon"].notna()]


def held(private: pd.DataFrame) -> pd.DataFrame:
    """Return those whose budget covers all that patients had to do with the model."""
    return private[private["end_to_end"] == PATIENT]


def distinct(frame: pd.DataFrame, key: str) -> list[str | Cell]:
    """Return each value of a column once, where it stands first, with semicolons between them."""
    parts: list[str | Cell] = []
    for cell in cells("guarantees", frame.drop_duplicates(key), key):
        parts += [cell] if not parts else ["; ", cell]
    return parts


def sentence(words: str) -> str:
    """Turn words into a sentence."""
    return f"{words[0].upper()}{words[1:]}."


def _notices(run: Run) -> list[str]:
    left = [*run.folder.glob("hospitals/*/secret"), *run.folder.glob("server/secret")]
    return [*([SEEDED] if run.study.privacy.secret_seed is not None else []), *([UNFINISHED] if left else [])]


def _answers(private: pd.DataFrame) -> list[Text]:
    """Return a sentence for each setting with a budget, or for each of its arms where they differ."""
    found = []
    for _, own in private.groupby("setting", sort=False):
        different = own.drop_duplicates("sentence")
        columns = (cells("guarantees", different, key) for key in ("sentence", "arm", "setting"))
        for said, arm, setting in zip(*columns, strict=True):
            who: list[str | Cell] = [setting, ": "] if len(different) == 1 else [setting, ", ", arm, ": "]
            found.append(Text([*who, said], kind="answer"))
    return found


def _spent(run: Run) -> list[Block]:
    """Return what each hospital spent, stage by stage, and what all deployments together would have cost."""
    if not run.has("privacy"):
        return []
    whole = run.privacy
    of_all = whole["arm"] == ALL
    by_hospital = whole[~of_all]
    found: list[Block] = [
        Figure(
            _chart(by_hospital),
            Table("What each hospital spent by stage, where it cost most", by_hospital, _SPENT, "privacy", folded=True),
            "bars: epsilon of each stage at each hospital; a tick is all stages together",
        ),
        text("Bars are stages, the tick is all of them together. Hospitals have patients of their own, so that "
             "their costs do not add up.", kind="small"),
    ]  # fmt: skip
    bare = run.guarantees[run.guarantees["end_to_end"] == NONE]
    others = ["; without a bound, so that all together have none: ", *distinct(bare, "setting")] if len(bare) else []
    for cost, delta in zip(*(cells("privacy", whole[of_all], key) for key in ("epsilon", "delta")), strict=True):
        together = " Were every deployment with a budget published, a patient would have spent epsilon "
        kind = sentence(REAL if run.study.at_sites else SIMULATED)
        found.append(text(kind, together, cost, " at delta ", delta, *others, "."))
    return found


def _chart(frame: pd.DataFrame) -> Chart:
    """Draw epsilon by arm, hospital and stage; the setting is chosen."""
    shown = frame[[*_SPENT]]
    stages = [stage for stage in COLOURS if stage in set(shown["stage"])]
    base = alt.Chart(shown).transform_calculate(
        place="datum.arm + ', ' + (datum.hospital === 'all' ? 'all patients' : replace(datum.hospital, /_/g, ' '))"
    )
    rows = alt.Y("place:N", sort=None, title=None, axis=alt.Axis(labelLimit=220))
    across = alt.X("epsilon:Q", title="epsilon of a patient's budget")
    kinds = {key: "Q" if pd.api.types.is_numeric_dtype(shown[key]) else "N" for key in _SPENT}
    tooltip = [alt.Tooltip(f"{key}:{kind}", title=_SPENT[key]) for key, kind in kinds.items()]
    scale = alt.Scale(domain=stages, range=[COLOURS[stage] for stage in stages])
    colour = alt.Color("stage:N", legend=alt.Legend(labelExpr=NAMES, columns=1), scale=scale)
    bars = base.transform_filter(f"datum.stage !== '{TOGETHER}'").mark_bar().encode(
        y=rows, yOffset=alt.YOffset("stage:N", sort=stages), x=across, color=colour, tooltip=tooltip
    )  # fmt: skip
    ticks = base.transform_filter(f"datum.stage === '{TOGETHER}'").mark_tick(thickness=3, color="currentColor").encode(
        y=rows, x=across, tooltip=tooltip
    )  # fmt: skip
    height = alt.Step(12 + 14 * len(stages), **{"for": "position"})
    return with_choice(finished(bars + ticks, height), shown, "setting")


def _terms(private: pd.DataFrame) -> Rows:
    """Explain the terms, each with what this run says."""
    here = {term: Text(distinct(private, term)) for term in ("delta", "unit", "relation", "trust", "adversary")}
    rows = [(term, words, here.get(term, "")) for term, words in TERMS.items()]
    return Rows("In plain words", ["term", "meaning", "in this run"], rows)


def _audit(run: Run, private: pd.DataFrame) -> list[Block]:
    """Return what attacks found, each beside its ceiling, and which settings nobody attacked."""
    found: list[Block] = []
    attacked: set[str] = set()
    if run.has("privacy-audit"):
        attacked = set(run.privacy_audit["setting"])
        found = [
            Table("What attacks found: lower bounds, not a proof; beside the most that they could have found, and what "
                  "is claimed", run.privacy_audit, _AUDIT, "privacy-audit"),
            text("The classifier's steps were attacked, with the run's own patients and mechanism; generators, and "
                 "what a classifier learned from before, were not. An attack that fails says little.", kind="small"),
        ]  # fmt: skip
    left = private[~private["setting"].isin(attacked)]
    if len(left):
        found.append(text(*distinct(left, "setting"), ": not attacked (fedmammo privacy audit would)."))
    return found


CHAPTER = Chapter("privacy", "What patients risk", ("guarantees",), blocks)
