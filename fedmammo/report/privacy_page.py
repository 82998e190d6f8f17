"""The page for a privacy officer: the report's section on privacy, and what a guideline would have one ask.

The questions follow the layers of NIST Special Publication 800-226, Guidelines for Evaluating Differential Privacy
Guarantees (March 2025): a guarantee is worth no more than what it rests on. The wording is ours.
"""

from collections.abc import Sequence

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Cell, Rows, Section, Text, text
from fedmammo.report.chapter import cells
from fedmammo.report.page import page_html
from fedmammo.report.privacy_words import NOBODY_PROTECTED
from fedmammo.report.sections.privacy import CHAPTER, distinct, held, with_budget
from fedmammo.report.words import DONE
from fedmammo.run.guarantees import NONE
from fedmammo.run.results import Run

GUIDELINE = "NIST SP 800-226"
NOT_COVERED = "Not covered"
Parts = Sequence[str | Cell]


def privacy_page(run: Run) -> str:
    """Return the page of a run that has a budget. Raises InputError where it is not finished."""
    run.check_finished()
    private = with_budget(run)
    rows = [(layer, asked, Text(answer)) for layer, asked, answer in _questions(run, private)]
    about = text(f"The layers are those of {GUIDELINE}, the questions are put in our own words. A layer is worth no "
                 "more than those below it: begin at the end.")  # fmt: skip
    sections = [
        Section(CHAPTER.name, CHAPTER.title, CHAPTER.blocks(run)),
        Section("questions", f"What {GUIDELINE} would have one ask",
                [about, Rows("Questions", ["layer", "question", "what this run answers"], rows)]),
    ]  # fmt: skip
    head = text(f"A study {DONE[run.study.at_sites]} by fedmammo.", kind="small")
    return page_html(f"Privacy of {run.study.name}", [head], sections)


def _questions(run: Run, private: pd.DataFrame) -> list[tuple[str, str, Parts]]:
    """Return layer, question and answer, from what is promised down to where the data come from."""
    return [
        *_of_the_guarantee(run, held(private)),
        *_of_algorithms(run),
        *_of_what_it_rests_on(held(private), run.study.at_sites),
    ]


def _of_the_guarantee(run: Run, private: pd.DataFrame) -> list[tuple[str, str, Parts]]:
    layer = "guarantee"
    if private.empty:
        return [(layer, "How strong is it, in numbers?", [NOBODY_PROTECTED])]
    bare = run.guarantees[run.guarantees["end_to_end"] == NONE]
    composed: list[str | Cell] = ["It was not counted."]
    if run.has("privacy"):
        whole = run.privacy[run.privacy["arm"] == ALL]
        cost, delta = (cells("privacy", whole, key) for key in ("epsilon", "delta"))
        composed = ["Were all deployments with a budget published, a patient would have spent epsilon ", *cost]
        composed += [" at delta ", *delta, ". "]
        if len(bare):
            composed += ["Without a bound are: ", *distinct(bare, "setting"), ". "]
        composed += [
            "Other studies with the same patients are not counted here; a real hospital's odometer counts all."
        ]
    smallest = private[private["patients"] == private["patients"].min()]
    different = private.drop_duplicates(["setting", "sentence"])
    said = zip(cells("guarantees", different, "setting"), cells("guarantees", different, "sentence"), strict=True)
    return [
        (layer, "How strong is it, in numbers?",
         ["Epsilon ", *distinct(private, "epsilon"), " at delta ", *distinct(private, "delta"),
          ": the most that a hospital spent."]),
        (layer, "What do these numbers mean for a patient?",
         [part for setting, one in said for part in (setting, ": ", one, " ")]),
        (layer, "Is delta far below one in the number of people?",
         ["Delta ", *distinct(private, "delta"), "; the smallest hospital trains on ", *distinct(smallest, "patients"),
          " patients. The tables tell epsilon at a smaller delta, too."]),
        (layer, "Who or what counts as one: a person, or a record?", distinct(private, "unit")),
        (layer, "Which two sets of data cannot be told apart, and what if a person is replaced?",
         [*distinct(private, "relation"), ". Replaced by another patient: epsilon ",
          *distinct(private, "epsilon_exchanged"), "."]),
        (layer, "Does it hold for everybody whose data were used?",
         ["No: for training patients alone. Those who were tested on, or who set thresholds, are not protected."]),
        (layer, "What do several releases cost together?", composed),
    ]  # fmt: skip


def _of_algorithms(run: Run) -> list[tuple[str, str, Parts]]:
    layer = "algorithms"
    audit: Parts = [f"{NOT_COVERED}: nobody attacked this run; fedmammo privacy audit RUN does."]
    if run.has("privacy-audit"):
        audit = ["Attacks on the classifier's steps are in the section above, beside what was claimed. They are no "
                 "proof, and generators were not attacked."]  # fmt: skip
    return [
        (layer, "How is one person's part bounded, and what is added to it?",
         ["Each patient's gradients are averaged, clipped once to a norm, rounded to a grid, and summed; noise from an "
          "exact discrete Gaussian distribution is added in integers. Norms and noise are in the table of what was "
          "spent."]),
        (layer, "Is the accounting sound, and the code what is accounted for?",
         ["Closed forms, and composed privacy losses where patients are sampled. Tests hold the code to known "
          "mistakes. No certificate and no independent review is known here."]),
        (layer, "Was it attacked?", audit),
        (layer, "Were hyperparameters, or the choice of a model, made on the same data?",
         [f"{NOT_COVERED}: they are taken to be public. The last model counts; none was chosen by its score."]),
        ("utility", "What does the noise cost in use?",
         ["In part: comparisons.csv has each setting beside the same one without a budget, where the study has both."]),
        ("bias", "Does noise or clipping hurt some groups more than others?",
         ["In part: subgroups.csv has each arm by group, where groups are large enough to tell. Small groups lose most "
          "under clipping and noise, and what is told of them is least certain."]),
        ("bias", "Are people left out, or over-represented, before noise is added?",
         [f"{NOT_COVERED}: this follows from how the data were gathered."]),
    ]  # fmt: skip


def _of_what_it_rests_on(private: pd.DataFrame, real: bool) -> list[tuple[str, str, Parts]]:
    return [
        ("trust", "Who sees data or sums before noise is added?",
         [*(["Trust: ", *distinct(private, "trust"), ". Protected against ", *distinct(private, "adversary"), ". "]
            if len(private) else [NOBODY_PROTECTED, " "]),
          "Each hospital has a machine, data, a secret and a ledger of its own." if real else
          "In this simulation one machine holds everything."]),
        ("security", "Are transport, access and keys secured?",
         ["Lines are encrypted (TLS), and a node is known by the key that the study names for its hospital. Whether "
          "machines, keys and the authority's key are kept well is for their owners to say." if real else
          f"{NOT_COVERED}: a simulation on one machine proves nothing of TLS, authentication or access. Secrets of the "
          "hospitals lie in the run's folder until it is finished, and are deleted then."]),
        ("security", "Can what was released, and what it cost, be checked afterwards?",
         ["Yes: each hospital's ledger is append-only, each line sealed with the digest of the one before, and is "
          "checked against the rounds when this page is made. Whoever may write all files could write other ones."]),
        ("side channels", "Can time, failures, sizes or messages tell something?",
         [f"{NOT_COVERED}: how long a hospital takes, that it fails, and its message are not counted. Numbers of "
          "training patients are public."]),
        ("side channels", "Does anything leave without noise?",
         ["Yes: metrics of tested patients, and predictions.csv in the simulation. Files are listed in the section "
          "above, with whether they may leave."]),
        ("data collection", "Who collected the data, with which consent, and who has copies?",
         [f"{NOT_COVERED}: the run knows a prepared cohort under pseudonyms, and no more. To be answered in the fields "
          "above."]),
        ("data collection", "How long are the raw data kept, and who can read them?",
         [f"{NOT_COVERED}: noise protects what was released, not the cohort on disk."]),
    ]  # fmt: skip
