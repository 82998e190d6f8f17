"""`fedmammo evaluate` on new images, against embedding these images once and scoring all models.

Peer: every image passes the network once (both views), then a matrix product for each model, and AUROC by scikit-learn.
Bar: at most 1.5 times the peer's time, start of the process included on both sides. Needs FEDMAMMO_COHORT and
FEDMAMMO_WEIGHTS.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import study, tell

BIN, IMAGES = Path(sys.executable).parent / "fedmammo", 400

PEER = """
import sys, numpy as np, torch
from pathlib import Path
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from fedmammo.cohort.store import Cohort
from fedmammo.config.study import load
from fedmammo.features.views import View
from fedmammo.models.classifier import build_classifier
torch.set_num_threads(1)
cohort, config, models = Cohort.open(Path(sys.argv[1])), load(Path(sys.argv[2])), Path(sys.argv[3])
classifier = build_classifier(config.diagnosis)
with torch.no_grad():
    rows = [torch.cat([classifier.prefix(View(mirrored).of(patch)) for patch in cohort.patches]) for mirrored in (0, 1)]
    for path in sorted(models.glob("*.safetensors")):
        model = load_file(path)
        weight, bias = model["head.weight"][0], model["head.bias"]
        logits = sum((x - model["center"]) / model["scale"] @ weight + bias for x in rows)
        print(path.stem, roc_auc_score(cohort.manifest["malignant"].astype(int), logits.numpy()))
"""


def write_new(folder: Path) -> None:
    """Write drawn patches as a folder of images in the reference's layout, and prepare them."""
    from PIL import Image

    from fedmammo.phantom.patches import draw_patches

    patches, masses = draw_patches(IMAGES, seed=77)
    for number, patch in enumerate(patches):
        place = folder / "images" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patch).save(place)
    rows = [f"images/{number}.png,P{number},{int(mass.malignant)},test" for number, mass in enumerate(masses)]
    (folder / "table.csv").write_text("\n".join(["image,patient,label,split", *rows]) + "\n")
    subprocess.run([BIN, "data", "prepare", folder / "table.csv", folder / "cohort"], check=True, capture_output=True)


def main() -> None:
    """Measure, each run with features that are not yet computed."""
    config = Path(__file__).parent.parent / "configs" / "cbis_ddsm_cpu.yaml"
    study()
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_new(folder)
        subprocess.run([BIN, "run", config, "--out", folder / "run"], check=True, capture_output=True)
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
            shutil.rmtree(folder / "cohort" / "features", ignore_errors=True)
            began = time.perf_counter()
            command = [BIN, "evaluate", folder / "run", "--cohort", folder / "cohort", "--split", "test"]
            ours = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            times["ours"].append(time.perf_counter() - began)
            began = time.perf_counter()
            command = [sys.executable, "-c", PEER, folder / "cohort", config, folder / "run" / "models"]
            peer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            times["peer"].append(time.perf_counter() - began)
        import io

        import pandas as pd

        found = pd.read_csv(io.StringIO(ours), dtype={"seed": str})
        found = found[(found["metric"] == "auroc") & (found["unit"] == "image") & (found["tested_at"] == "all")]
        found = found[found["arm"] == "federated"]
        own = found[found["seed"] == "0"]["value"].iloc[0]
        bare = next(float(line.split()[1]) for line in peer.splitlines() if line.startswith("federated-real-seed0"))
        assert np.isclose(own, bare, atol=1e-3), (own, bare)
    tell("evaluate-elsewhere", times, images=IMAGES, bar="at least .67")


if __name__ == "__main__":
    main()
