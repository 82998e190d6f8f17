"""Every column of every table that `fedmammo plan --out` writes, in one line each; it writes them as columns.csv."""

_PLACE = {
    "tested_at": "a hospital, or `all` hospitals' patients, as in comparisons.csv",
    "basis": "`assumed`, from assumptions alone; `pilot`, from a finished run's scores",
    "patients": "tested patients; the mean over draws of hospitals, rounded",
}
_SURE = {
    "half_width": "half of the width of the difference's 95 % interval: (ci_high - ci_low) / 2 of comparisons.csv",
    "detectable": "smallest true difference that would be shown as superior with a probability of 80 %",
    "power_superior": "probability that a true difference as large as the margin is shown as superior",
    "power_non_inferior": "probability that the assumed true difference is shown as non-inferior",
}
TABLES: dict[str, dict[str, str]] = {
    "plan.csv": {
        **_PLACE,
        "positives": "those of them with a malignant unit",
        "repeats": "seeds times draws of hospitals",
        "half_width": _SURE["half_width"],
        "error": "standard error of the difference, as in comparisons.csv",
        "of_repeats": "the part of its square that comes from seeds and draws, 0 to 1, likewise",
        "detectable": _SURE["detectable"],
        "power_superior": _SURE["power_superior"],
        "power_non_inferior": _SURE["power_non_inferior"],
        "patients_superior": "about how many tested patients would show the margin as superior (80 %); empty where no "
        "number would, because of seeds and draws",
        "patients_non_inferior": "about how many would show the assumed true difference as non-inferior, likewise",
        "margin": "the largest loss that would not matter (`evaluation.primary.margin`)",
        "note": "why the study will have no interval there; what the pilot could not tell",
    },
    "power.csv": {**_PLACE, **_SURE, "planned": "whether the study has as many"},
    "development.csv": {
        "place": "a hospital, or `all`",
        "aim": "`developing` a model, or `validating` it",
        "criterion": "Riley's: shrinkage, optimism, risk; observed_to_expected, slope, c_statistic, net_benefit",
        "patients_needed": "that it asks for; assumed AUROC and parameters, calibrated scores",
        "patients": "that are there: training patients of one deployment, or tested ones",
        "enough": "yes or no",
        "parameters_borne": "parameters that the training patients bear with a shrinkage of .9",
    },
    "costs.csv": {
        "arm": "centralized, local or federated",
        "setting": "what is learned from, and under which budget",
        "hospital": "who pays; `all`: the holder of all patients",
        "rounds": "of training",
        "steps": "in all rounds",
        "simulated_hours": "of computing and sending, by the hospital's profile; estimated, of training alone",
        "megabytes_up": "sent by the hospital, estimated likewise",
        "megabytes_down": "sent to it",
    },
    "privacy.csv": {
        "arm": "centralized, local or federated",
        "setting": "with a budget",
        "hospital": "whose patients are protected; `all`: the holder of all",
        "stage": "generator, embedding (sums of features) or train (the classifier)",
        "patients": "training patients of one deployment",
        "noise_multiplier": "standard deviation of a step's noise over `clipping_norm`",
        "clipping_norm": "the most, in L2 norm, that a patient adds to a sum",
        "steps": "noised sums",
        "signal_to_noise": "largest possible sum of a step over its noise in that direction; of all members together "
        "where a trusted server adds the noise",
        "signal_to_noise_of_all_steps": "the same times the root of their number",
        "epsilon": "that all stages cost together",
        "delta": "at which epsilon is told",
        "best_attack": "share of training patients whom the best attack finds that is wrong on 1 % of others",
        "protection": "in words",
        "refuses": "why the hospital would refuse; empty where it would not",
    },
    "assumptions.csv": {
        "name": "as `--assume` takes it",
        "value": "the number",
        "source": "`assumed`, by default, or `told` with --assume",
        "pilot": "the same, measured at the pilot's hospitals; rows of the pilot rest on its scores instead",
        "meaning": "of what",
    },
}
"""File → column → what it means."""
