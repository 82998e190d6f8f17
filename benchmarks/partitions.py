"""Twenty partitions, five folds, three arms on the real patches: `fedmammo run` against bare loops in two processes.

Peer: the loops of `deployment.py` for each partition, fold and arm, spread over two processes that read features; each
scores its models on the tested patients. It has no messages, files, intervals or tables. Bar: at most twice the
peer's time of the clock, start of Ray included.
"""

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from common import study, tell

PARTITIONS, FOLDS = 20, 5
OVERRIDES = [
    f"hospitals.seed=0..{PARTITIONS - 1}",
    f"evaluation.folds={FOLDS}",
    "evaluation.folds_over=[train,val,test]",
    "seeds=[0]",
]


def bare_partition(draw: int) -> list[float]:
    """Train and score all arms and folds of one partition, in this process."""
    import numpy as np
    import torch
    from deployment import bare, shards_of
    from sklearn.metrics import roc_auc_score

    from fedmammo.features.inputs import Inputs
    from fedmammo.hospitals.dealing import deal
    from fedmammo.hospitals.records import records_of
    from fedmammo.hospitals.site import open_cohort
    from fedmammo.run.public import Public

    torch.set_num_threads(1)
    config, found = study(*OVERRIDES), []
    cohort = open_cohort(Path(config.cohort.path))
    dealt, public = deal(cohort, config), Public(config, Path())
    for fold in range(FOLDS):
        for arm in ("centralized", "local", "federated"):
            deployment = config.deployment(arm, "real", 0, draw, fold)
            inputs = Inputs(
                cohort, public.diagnosis(deployment), public.device, records_of(cohort, dealt.draws[draw], {})
            )
            groups, start = shards_of(config, arm, draw, fold)
            test = dealt.held(cohort, deployment)["all"].test
            x = torch.stack([inputs.standard(test, np.full(len(test), view)) for view in range(len(inputs.views))])
            for shards in groups:
                (model,) = bare(shards, start, config.federation.rounds, config.federation.local_steps)
                logits = torch.nn.functional.linear(x, model["weight"], model["bias"]).mean(dim=0).squeeze(1)
                truth = inputs.malignant[test]
                pairs = float(truth.sum() * (1 - truth).sum())
                found.append((pairs * roc_auc_score(truth, logits.numpy()), pairs))
    return found


def main() -> None:
    """Run both sides once each, in turn, as often as the command line says (once)."""
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        study()  # sets the environment
        with tempfile.TemporaryDirectory() as out:
            began = time.perf_counter()
            overrides = [word for override in OVERRIDES for word in ("--set", override)]
            config = Path(__file__).parent.parent / "configs" / "cbis_ddsm_cpu.yaml"
            command = [
                str(Path(sys.executable).parent / "fedmammo"),
                "run",
                str(config),
                *overrides,
                "--out",
                f"{out}/run",
            ]
            subprocess.run(command, check=True, capture_output=True)
            times["ours"].append(time.perf_counter() - began)
            import numpy as np
            import pandas as pd

            results = pd.read_csv(f"{out}/run/results.csv", dtype={"seed": str, "draw": str})
            whole = results[(results["metric"] == "auroc") & (results["unit"] == "image") & (results["seed"] == "all")]
            whole = whole[whole["tested_at"] == "all"]
            own = whole[whole["trained_at"] == "all"].set_index("arm")["value"]
        began = time.perf_counter()
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(bare_partition, range(PARTITIONS)))
        times["peer"].append(time.perf_counter() - began)
        count = (len(found[0]) // FOLDS) - 2
        of_arm = {"centralized": slice(0, 1), "local": slice(1, 1 + count), "federated": slice(1 + count, 2 + count)}
        for arm, part in of_arm.items():
            # (partitions, models): rightly ranked pairs within folds over pairs, summed over folds
            ranked = np.array(found).reshape(len(found), FOLDS, count + 2, 2)[:, :, part].sum(axis=1)
            mean = float((ranked[..., 0] / ranked[..., 1]).mean())
            assert abs(mean - own[arm]) < 1e-3, f"{arm}: {mean} is not {own[arm]}"
    tell("partitions", times, bar="at least .5")


if __name__ == "__main__":
    main()
