"""How a study was done, in prose: sentences with facts in braces. One whose facts are not known is left out.

A sentence that is one key of `about` alone is what people write; where they have not yet, the report asks for it.
"""

from collections.abc import Sequence

from fedmammo.config.about import About
from fedmammo.report.blocks import Asked, Text
from fedmammo.report.facts import Facts, names_in, plain, sentences

METHOD: dict[str, tuple[str, ...]] = {
    "Data": (
        "The cohort was prepared from a {source}.",
        "Source: {origin}",
        "It listed {listed} rows or files, of which {quarantined} could not be prepared (the cohort's quarantine.csv "
        "says why).",
        "{prepared} were prepared.",
        "{places}",
        "{dates}",
        "{acquisition}",
    ),
    "Participants": (
        "{eligibility}",
        "All images of a patient stay together in every split, fold and hospital: {partition}.",
        "A fraction of {validation} of each hospital's training patients was kept back to set thresholds.",
        "Models were trained on {trained}; {set_thresholds} set thresholds, and {tested} were tested ({which}). "
        "With folds these are roles that one patient has in turn.",
        "{sample_size}",
    ),
    "Hospitals": (
        "Patients were dealt {rule}.",
        "The hospitals, which are {kind_of_hospitals}, are {hospitals}.",
        "Seeds of the draws: {draws}.",
    ),
    "Outcome": ("The outcome is whether a lesion is malignant, as the data have it on record.", "{outcome}"),
    "Images": (
        "The only predictor is the patch of a mammogram around a lesion, read at {image_size} pixels a side.",
        "{harmonised}",
        "In training, views of an image were taken ({views}).",
    ),
    "Model": (
        "The network is {network} with {weights}.",
        "What was trained is {learned}, which reads {features}.",
        "A step took the fraction {fraction} of a holder's training patients; a patient's loss is the mean over its "
        "images.",
        "Optimiser: {optimizer}.",
        "{overrides}",
        "The last model was scored; none was selected.",
    ),
    "Federation": (
        "The arms are {arms}; unless told otherwise they take the same number of steps.",
        "There were {rounds} rounds of {local_steps} steps at each holder.",
        "Federated hospitals are clients of Flower, and their models were combined by {strategy}.",
        "Settings say what models learned from, and under which privacy budget: {settings}.",
        "{synthesis}",
    ),
    "Privacy": ("{privacy}",),
    "Analysis": (
        "The primary comparison is the {metric} per {unit}, {arm} minus {against}, {over} and in each hospital's own "
        "patients, with a margin of {margin} for non-inferiority.",
        "Scores of tested patients stayed at {at_home}: summaries are counts and metrics of enough patients, rounded; "
        "means over hospitals are random effects (restricted maximum likelihood; Hartung, Knapp, Sidik and Jonkman).",
        "All other comparisons are secondary and not adjusted for their number; p-values at hospitals are adjusted by "
        "Holm's method.",
        "95 % intervals allow for chance in {varies}; they take as given: {fixed}.",
        "Variances over patients come from each patient's influence on a metric (DeLong, and Obuchowski where a "
        "patient has several lesions); repeats stand for readers in the analysis of Obuchowski and Rockette, with the "
        "degrees of freedom of Hillis.",
        "Seeds of the classifier: {seeds}.",
        "Subgroups are by {subgroups}.",
        "Net benefit is told at thresholds of {thresholds}.",
        "Recall rate and predictive values are told at a prevalence of {prevalence}.",
    ),
    "What was tuned on whom": ("{tuning}",),
    "Software": ("The study was computed by fedmammo with {versions}.", "SHA-256 digests: {digests}."),
}


def paragraphs(templates: Sequence[str], facts: Facts) -> list[Text | Asked]:
    """Return a paragraph of sentences, and fields for what people have not written yet."""
    fields: list[Asked] = []
    said: list[str] = []
    for template in templates:
        names = names_in(template)
        own = len(names) == 1 and template == f"{{{names[0]}}}" and names[0] in About.model_fields
        if own and names[0] not in facts:
            fields.append(asked(names[0]))
        else:
            said.append(template)
    filled = sentences(said, facts)
    return [*([Text(filled)] if filled else []), *fields]


def in_markdown(templates: Sequence[str], facts: Facts, by: str) -> list[str]:
    """Return the same as texts. `by`: who writes what people have not written yet."""
    return [
        plain(block.parts) if isinstance(block, Text) else f"*To be written by {by}: {block.label}*"
        for block in paragraphs(templates, facts)
    ]


def asked(key: str) -> Asked:
    """Return the field for a key of `about`."""
    return Asked(f"about.{key}: {About.model_fields[key].description}")
