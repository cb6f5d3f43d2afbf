"""Compare a pipeline that just ran with the one that is committed; exit 1 where they differ too much.

Data stages must come out byte for byte. Weights too, or else (another processor) each metric must lie
within the interval that is committed. The deployed champion must be what the pipeline made.
"""

import json
import sys
from pathlib import Path

import yaml

from blobwatch.files import file_hash
from blobwatch.lineage.rebuild import outside

DATA_STAGES = ("simulate", "difference", "subframes")


def outputs(lock: dict, stage: str) -> dict[str, str]:
    """Return path and hash of each output of a stage."""
    return {out["path"]: out["md5"] for out in lock["stages"][stage]["outs"]}


def main(committed_lock: Path, committed_metrics: Path) -> int:
    """Print what differs; return the exit status."""
    before = yaml.safe_load(committed_lock.read_text())
    now = yaml.safe_load(Path("dvc.lock").read_text())
    problems = []
    for stage in DATA_STAGES:
        if outputs(before, stage) != outputs(now, stage):
            problems.append(f"{stage}: outputs {outputs(now, stage)}, committed {outputs(before, stage)}")
    same_weights = outputs(before, "train") == outputs(now, "train")
    if same_weights:
        print("weights: equal to the committed ones, byte for byte")
    else:
        print("weights: not those of the committed run; comparing the metrics with its intervals")
    metrics = json.loads(Path("reports/evaluate/metrics.json").read_text())
    problems += outside(json.loads(committed_metrics.read_text()), metrics)
    champion = json.loads(Path("models/champion/manifest.json").read_text())
    candidate = json.loads(Path("models/candidate/manifest.json").read_text())
    for name, expected in champion["files"].items():
        if file_hash(Path("models/champion") / name) != expected:
            problems.append(f"models/champion/{name} is not the file its manifest names")
    rebuilt = champion["fingerprint"]["sha256"] == candidate["fingerprint"]["sha256"]
    if champion["files"] != candidate["files"] and (same_weights or not rebuilt):
        problems.append("models/champion is not what the pipeline made")
    print("\n".join(problems) or "the pipeline gave again what is committed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
