"""Which files of a run hold unprotected models or rows of patients, and which may be shared: from its guarantees."""

from collections.abc import Iterator

import pandas as pd

from fedmammo.report.blocks import Cell, Rows, Text
from fedmammo.run.guarantees import NONE, PATIENT
from fedmammo.run.results import Run
from fedmammo.synthesis.sources import FromFolder, FromGan

Row = tuple[str | Text, str | Text, str]
KEEP = "keep: nothing protects the patients in it"
HELD = "may be shared, as far as its guarantee goes"
DECLARED = "a declared release of tested patients, without noise: look at small groups before it leaves"
FREE = "may be shared: follows from plans, not from patients"
OF_MODEL = {PATIENT: HELD, NONE: KEEP}

# Pattern, what matching files hold, whether they may leave: of every run that has such files.
ALWAYS = (
    ("predictions.csv", "scores and labels of patients who were tested or set thresholds, by pseudonym", KEEP),
    ("deployments/*/predictions.csv", "the same, of each deployment", KEEP),
    ("deployments/*/scores-*.csv", "the same, between rounds", KEEP),
    ("hospitals/*/tested", "the same, of a hospital that keeps them, until the run is finished", KEEP),
    ("hospitals/*/summaries/*.json", "what such a hospital told, and was asked", DECLARED),
    ("told/", "the same, as it arrived", DECLARED),
    ("tested.csv", "how each hospital tells, and numbers of tested patients", DECLARED),
    ("hospital_bins.csv", "scores of hospitals that keep them, in bins of enough patients", DECLARED),
    ("hospitals/*/secret", "what noise is drawn from: whoever has it can take the noise away", "never, to nobody"),
    ("server/secret", "the same, of a trusted server", "never, to nobody"),
    ("features", "what networks make of patients' images, where the cohort's own folder does not keep it", KEEP),
    ("hospitals/*/patients.csv", "which pseudonym is in which hospital, and whose label is wrong", KEEP),
    ("hospitals/*/ledger/*.jsonl", "what was released and what it cost, declared numbers of patients, keyed digests",
     "for auditors, as a whole"),
    ("hospitals/*/site.yaml", "a simulated hospital's limits, and places on this machine", "keep: of no use elsewhere"),
    ("verdicts.csv", "what was compared, for all tested patients and each hospital's", DECLARED),
    ("results.csv", "metrics of tested patients", DECLARED),
    ("comparisons.csv", "differences of these metrics", DECLARED),
    ("subgroups.csv", "metrics of groups, some of them small", DECLARED),
    ("decision_curve.csv", "net benefit on tested patients", DECLARED),
    ("roc.csv", "sensitivity on tested patients", DECLARED),
    ("precision_recall.csv", "precision on tested patients", DECLARED),
    ("calibration.csv", "calibration on tested patients", DECLARED),
    ("curves.csv", "metrics of tested patients between rounds", DECLARED),
    ("rounds.csv", "who took part in which round; losses, hours, messages of hospitals", KEEP),
    ("deployments/*/rounds.csv", "the same, of each deployment", KEEP),
    ("costs.csv", "rounds, traffic, and hours, from which numbers of images follow", KEEP),
    ("flow.csv", "exact numbers of patients, tested ones among them", DECLARED),
    ("holdings.csv", "exact numbers of each hospital's patients by label, density and split", KEEP),
    ("guarantees.csv", "what is promised", FREE),
    ("privacy.csv", "what was spent", FREE),
    ("privacy-audit.csv", "what attacks found: a release of its own, which nobody counts", KEEP),
    ("synthetic/pools.csv", "who holds which pool, and a digest of its images", KEEP),
    ("synthetic/quality.csv", "how near synthetic images are to patients', without noise", KEEP),
    ("report.html", "what all tables say, exact numbers of hospitals' patients among it; synthetic images", KEEP),
    ("timings.csv", "how long things took, which no budget counts", KEEP),
    ("run.log", "messages, which no budget counts", KEEP),
    ("config.yaml", "the study; a keyed digest of its cohort, places on this machine, privacy.secret_seed if it is set",
     "may be shared without places and that seed"),
)  # fmt: skip

NOT_YET = ("report.html", "timings.csv", "run.log")  # may be written after the report, which must not depend on them


def files_of(run: Run) -> Rows:
    """Return what there is, what it holds, and whether it may leave."""
    known = [row for row in ALWAYS if row[0] in NOT_YET or any(run.folder.glob(row[0]))]
    rows = [*_models(run.guarantees), *_generators(run), *_pools(run), *known]
    return Rows("Which files may leave", ["files", "what they hold", "may they leave?"], rows)


def _models(guarantees: pd.DataFrame) -> Iterator[Row]:
    for at, row in guarantees.iterrows():
        arm, setting, held = (
            Cell("guarantees", int(str(at)), key, row[key]) for key in ("arm", "setting", "end_to_end")
        )
        files = Text(["models/", arm, "-", setting, "-seed*.safetensors"])
        may = OF_MODEL.get(str(row["end_to_end"]), "may be shared: no patient had a part in it")
        yield files, Text(["models; end to end: ", held]), may


def _generators(run: Run) -> Iterator[Row]:
    """Yield the generators: a budget of its own names a generator's file by its setting."""
    held, bare = run.guarantees[run.guarantees["end_to_end"] == PATIENT], False
    protected: dict[str, Cell] = {}
    for one in run.study.deployments:
        if isinstance(one.source, FromGan):
            own = held[(held["arm"] == one.arm_name) & (held["setting"] == one.setting_name)]
            if one.generator_share and len(own):
                at = int(str(own.index[0]))
                protected.setdefault(one.setting_name, Cell("guarantees", at, "setting", one.setting_name))
            else:
                bare = True
    for setting in protected.values():
        yield Text(["models/generator-*-", setting, "-draw*.safetensors"]), "generators under that budget", HELD
    if bare:
        others = "all other models/generator-*.safetensors" if protected else "models/generator-*.safetensors"
        yield others, "generators that learned from patients without a guarantee", KEEP
        yield "synthetic/progress/", "pictures by generators as they learned", KEEP


def _pools(run: Run) -> Iterator[Row]:
    if run.study.synthesis is None:
        return
    files = "synthetic/*/patches.npy, images.csv"
    if isinstance(run.study.synthesis, FromGan):
        yield files, "images by generators", "as synthetic/pools.csv says of each: keep where its guarantee is none"
    elif isinstance(run.study.synthesis, FromFolder):
        yield files, "images made elsewhere", "nothing is known here of whom they tell"
    else:
        yield files, "images drawn by rule", "may be shared: no patient had a part in them"
