"""Stage ``subframes``: labelled subframes for train, val and test, and whole test frames."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from blobwatch.dataset.ground_truth import Appearance, read_truth, visible_new_blobs
from blobwatch.dataset.labels import LabelledSources, apply_labels, read_labels, write_labels
from blobwatch.dataset.shards import write_shard
from blobwatch.dataset.splits import SPLITS, Source, list_split_exposures, read_sources, split_by_time
from blobwatch.dataset.subframes import Recipe, create_frame, cut_subframes, cut_whole_frame
from blobwatch.files import atomic_folder, file_hash, write_table
from blobwatch.instrument.differences import read_difference
from blobwatch.instrument.season import TRUTH
from blobwatch.instrument.templates import Template, read_templates
from blobwatch.lineage.fingerprint import EXPOSURES
from blobwatch.params import Subframes
from blobwatch.progress import console, map_in_processes

INDEX = "index.csv"


@dataclass(frozen=True)
class Job:
    """One shard to write."""

    split: str
    source: Source
    count: int
    start: int = 0  # number of earlier subframes in the split


def subframes(
    differences: Path,
    exposures: Path,
    labels: Path,
    templates: Path,
    out: Path,
    settings: Subframes,
    seed: int,
    workers: int = 2,
) -> None:
    """Write the shards, whole test frames, the index, exposures and labels."""
    sources, labels_read = read_sources(differences), read_labels(labels)
    splits = split_by_time(sources, settings.shares)
    truth = read_truth(exposures / TRUTH)
    labelled = apply_labels(
        labels_read, sources, truth, lambda path: read_difference(path, only_image=True).image
    )
    if labels_read:
        console.print(
            f"subframes: {len(labelled.used)} of {len(labels_read)} labels apply to these exposures"
        )
    jobs = []
    for split in SPLITS:
        parts = np.array_split(range(getattr(settings, split).count), len(splits[split]))
        counts = [len(part) for part in parts]
        starts = np.cumsum([0, *counts])
        jobs += [Job(split, *job) for job in zip(splits[split], counts, starts.tolist(), strict=False)]
    jobs += [Job("final", source, 0) for source in splits["test"]]
    with atomic_folder(out) as folder:
        work = partial(make_shard, folder, truth, labelled, tuple(read_templates(templates)), settings, seed)
        rows = list(map_in_processes(work, jobs, "subframes", workers))
        write_table(folder / INDEX, rows)
        write_table(folder / EXPOSURES, list_split_exposures(differences, exposures, splits))
        write_labels(folder, labelled.used)


def make_shard(
    folder: Path,
    truth: list[Appearance],
    labelled: LabelledSources,
    templates: tuple[Template, ...],
    settings: Subframes,
    seed: int,
    job: Job,
) -> dict:
    """Create and write one shard; return its row of the index."""
    source = job.source
    expstart, stack_times = source.expstart, list(source.stack_times)
    seen = visible_new_blobs(labelled.appearances, expstart, stack_times)
    unclear = [appearance.blob for appearance in labelled.appearances if expstart < appearance.mjd]
    places = np.array([(blob.x, blob.y) for blob in seen]).reshape(-1, 2)
    others = labelled.others.get(source.rootname, np.empty((0, 2)))
    new = visible_new_blobs(truth, expstart, stack_times) + seen
    frame = create_frame(read_difference(source.path), new, unclear, np.concatenate([places, others]))
    if job.split == "final":
        shard = cut_whole_frame(frame)
    else:
        # The random stream depends on the rootname, so that other exposures do not change this shard.
        rng = np.random.default_rng([seed, 5, *source.rootname.encode()])
        recipe = Recipe(
            **getattr(settings, job.split).model_dump(exclude={"count"}),
            templates=templates if job.split == "train" else (),  # templates are for training only
            template_share=settings.templates,
            labelled=settings.labelled,
        )
        shard = cut_subframes(rng, frame, job.count, recipe, job.start)
    path = Path(job.split) / f"{source.rootname}.npz"
    (folder / job.split).mkdir(exist_ok=True)
    write_shard(folder / path, shard)
    return {
        "split": job.split,
        "path": path.as_posix(),
        "rootname": source.rootname,
        "expstart": source.expstart,
        "subframes": len(shard),
        "positive": int(shard.labels.sum()),
        "blobs": len(shard.blobs),
        "difference_md5": file_hash(source.path, "md5"),
        "stack": " ".join(source.stack),
    }
