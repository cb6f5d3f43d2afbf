"""Compare the outputs of a pipeline run with the committed ones; exit 1 if they differ too much.

Data stages must give the same bytes. The weights must be equal, or (on another processor) each metric must
lie within the committed interval. The deployed champion must equal the pipeline's candidate.
"""

import json
import sys
from pathlib import Path

import yaml

from blobwatch.files import file_hash
from blobwatch.lineage.rebuild import find_disagreements

DATA_STAGES = ("simulate", "difference", "subframes")


def output_hashes(lock: dict, stage: str) -> dict[str, str]:
    """Return path and hash of each output of a stage."""
    return {out["path"]: out["md5"] for out in lock["stages"][stage]["outs"]}


def main(committed_lock: Path, committed_metrics: Path) -> int:
    """Print the differences; return the exit status."""
    before = yaml.safe_load(committed_lock.read_text())
    now = yaml.safe_load(Path("dvc.lock").read_text())
    problems = []
    for stage in DATA_STAGES:
        if output_hashes(before, stage) != output_hashes(now, stage):
            problems.append(
                f"{stage}: outputs {output_hashes(now, stage)}, committed {output_hashes(before, stage)}"
            )
    same_weights = output_hashes(before, "train") == output_hashes(now, "train")
    if same_weights:
        print("weights: equal to the committed bytes")
    else:
        print(
            "weights: different from the committed ones; comparing the metrics with the committed intervals"
        )
    metrics = json.loads(Path("reports/evaluate/metrics.json").read_text())
    problems += find_disagreements(json.loads(committed_metrics.read_text()), metrics)
    champion = json.loads(Path("models/champion/manifest.json").read_text())
    candidate = json.loads(Path("models/candidate/manifest.json").read_text())
    for name, expected in champion["files"].items():
        if file_hash(Path("models/champion") / name) != expected:
            problems.append(f"models/champion/{name}: hash differs from the manifest")
    rebuilt = champion["fingerprint"]["sha256"] == candidate["fingerprint"]["sha256"]
    if champion["files"] != candidate["files"] and (same_weights or not rebuilt):
        problems.append("models/champion: differs from models/candidate of this run")
    print("\n".join(problems) or "the pipeline reproduced the committed outputs")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
