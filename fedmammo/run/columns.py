"""What columns mean that several tables share."""

from fedmammo.evaluation.metrics import ABOUT

PLACE = {
    "arm": "the arm, and after a hyphen its variant; `reader` for the recorded BI-RADS assessments",
    "setting": "what was learned from, and under which budget; `assessment` for the reader",
    "seed": "of the classifier, of the order of patients and of folds; `all`: the mean over seeds and draws",
    "draw": "of hospitals (its seed); `all`: the mean over seeds and draws",
}
FOLD = {"fold": "which fold was tested; 0 without folds"}
TESTED = {
    "tested_at": "whose patients were tested: a hospital's, or `all`; `mean over hospitals` of random effects, each on "
    "its own patients, where not all give rows of them, and `all` is empty",
    "unit": "of what the metric is: image, lesion, breast or patient; the score of several images is their mean",
    "patients": "tested patients; the mean over draws of hospitals, rounded; empty where a hospital does not say",
    "positives": "those of them with a malignant lesion",
}
INTERVAL = {
    "ci_low": "lower limit of the 95 % interval; empty where there is no honest one, and `note` says why",
    "ci_high": "its upper limit",
}
NOTE = {"note": "why something is empty; `cautious`: few seeds or patients, coverage may differ from 95 %"}
METRIC = {"metric": "one of " + ", ".join(ABOUT) + "; `_recalibrated`: after each hospital's own recalibration"}
