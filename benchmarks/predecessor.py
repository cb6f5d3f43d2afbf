"""Train the public predecessor's architecture on our subframes, and judge it beside the deployed network.

Run ``python benchmarks/predecessor.py`` after ``make repro``; it takes about a quarter of an hour on two
cores and writes nothing into the project. (As an experiment with a run of its own:
``dvc exp run -S train.architecture=predecessor -S train.learning_rate=0.001``.)
"""

import tempfile
from pathlib import Path

import torch

from blobwatch.artefact import Model
from blobwatch.dataset.shards import read_split
from blobwatch.detector.evaluation import Bootstrap, subframe_metrics
from blobwatch.detector.export import write_artefact
from blobwatch.detector.network import build
from blobwatch.detector.scoring import score_filter, score_model
from blobwatch.detector.training import Plan, train
from blobwatch.params import load_params


def main() -> None:
    """Train, judge, print a table."""
    params = load_params()
    torch.set_num_threads(params.threads)
    torch.manual_seed(params.seed)
    sets = {name: read_split(Path("data/subframes"), name) for name in ("train", "val", "test")}
    network = build("predecessor", 1)
    # Its own recipe: Adam with weight decay 1e-5, five epochs.
    plan = Plan(5, 5, 16, 0.001, 0.00001, 0.0, params.seed)
    with tempfile.TemporaryDirectory() as folder:
        train(
            network, sets["train"], sets["val"], plan, Path(folder) / "checkpoint.safetensors", on_epoch=print
        )
        write_artefact(Path(folder), network, {"name": "predecessor", "width": 1}, {"threshold": 0.5})
        old = score_model(Model.load(Path(folder)), sets["test"], 6.0).scores
    new = score_model(Model.load("models/champion"), sets["test"], 6.0).scores
    bank = score_filter(sets["test"], 6.0).scores
    draw = Bootstrap(params.evaluate.bootstrap, params.evaluate.confidence, params.seed)
    print("| test subframes | AUC |\n| --- | --- |")
    for name, scores in (("blobwatch", new), ("matched filters", bank), ("predecessor's CNN", old)):
        value = subframe_metrics(sets["test"].labels, scores, sets["test"].rootnames, 0.5, draw)["auc"]
        print(f"| {name} | {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}] |")


if __name__ == "__main__":
    main()
