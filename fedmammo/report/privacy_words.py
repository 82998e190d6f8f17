"""What the terminal and the page say alike to a privacy officer, in words. Numbers come from tables alone."""

SEEDED = "hospitals' secrets came from privacy.secret_seed: NOTHING here is private"
UNFINISHED = "hospitals' secrets still lie in this folder, and the study is not finished: keep the folder to yourself"
SIMULATED = "simulated: each arm, setting and seed is a deployment that might have been, with a budget of its own"
REAL = "real hospitals: each counts all that it ever released, in any study; what this one spent is a part of that"
PROTECTED = "protected: training patients of every hospital, in settings whose budget holds from end to end"
NOBODY_PROTECTED = "Nobody is protected: no budget of this study holds from end to end."
NOT_PROTECTED = (
    "not protected: patients who are tested on or set thresholds; metrics are declared releases, and predictions.csv "
    "is the simulation's own"
)

ASSUMPTIONS = (
    (
        "Noise and sampled patients come from a random secret of the operating system, kept in the hospital's folder "
        "in the run, and deleted when the run is finished, not before.",
        "Whoever has a hospital's secret can take its noise away.",
    ),
    (
        "No other run learned from these patients: a run knows of no other.",
        "The same study with another folder spends its budget again, and nobody here adds the two up.",
    ),
    (
        "Noise is drawn in integers, without floating point; what a patient adds depends on nobody computed beside it.",
        "Low digits, or whoever is in the same batch, could tell who took part.",
    ),
    (
        "Backbone weights, drawn patches and the choice of hyperparameters are public.",
        "Hyperparameters that were tuned on these patients are a release that is not counted.",
    ),
    (
        "How long a hospital takes, that it fails, and with which message, tells nothing: it is not counted.",
        "Whoever watches may learn something of its patients.",
    ),
    (
        "Patients are in one hospital each.",
        "Patients in several would add up what these spend.",
    ),
    (
        "Hospitals and lines between them are secure.",
        "A simulation on one machine proves nothing of TLS or authentication.",
    ),
    (
        "Where hospitals share the noise (trust secure): no more of them collude with the server than is said, and "
        "each has the others' keys from their own people.",
        "With more, less noise is left than planned, and with a key from the server it can take masks off. One machine "
        "that holds all secrets computes the same numbers, and proves the arithmetic alone.",
    ),
)
"""What is taken to be true, and what follows where it is not."""

TERMS = {
    "epsilon": "Bounds how much likelier anything that can be seen of a model becomes because a given patient took "
    "part. Zero tells nothing; smaller is safer. Costs of several stages together are less than their sum.",
    "delta": "About the chance that epsilon does not hold. It ought to be far below one in the number of patients.",
    "best attack": "The attacker knows everything but whether one patient took part. What such an attack finds at most "
    "follows from epsilon and delta: exactly where every patient is in every step, else as of one mechanism of the "
    "same epsilon and delta.",
    "unit": "Whose data counts as one: all of a patient, not an image.",
    "relation": "Which two sets of data nobody can tell apart.",
    "trust": "Who adds the noise, and so who sees sums without it: each hospital for itself (local), a trusted server "
    "(central), or hospitals together, each a share, under masks that vanish in their total alone (secure).",
    "adversary": "Against whom this protects.",
    "odometer": "A hospital's own count of all that it ever released. At a real hospital it is one for all studies, "
    "and refuses what would pass the limit that the hospital set; in this simulation each arm, setting, seed, draw "
    "and fold has its own.",
    "end to end": "Whether epsilon covers all that patients had to do with a model: the images that it learned from, "
    "too.",
}
