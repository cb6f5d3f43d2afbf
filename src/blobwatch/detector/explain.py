"""Individual cases: the worst errors, and the pixels that determine the output of the network."""

from pathlib import Path

import numpy as np

from blobwatch.artefact import Model
from blobwatch.dataset.shards import Shard
from blobwatch.detector.scoring import ScoringResult

GALLERY = 8  # cases in a row of a gallery


def worst_errors(data: Shard, scored: ScoringResult, threshold: float) -> tuple[list[tuple], list[tuple]]:
    """Return the most confident false blobs and the strongest missed blobs.

    Returns
    -------
    false : list of (subframe, x, y, probability)
    missed : list of (subframe, x, y, snr)
    """
    false = []
    for k in np.argsort(-scored.matches.false, kind="stable")[:GALLERY]:
        index, probability = scored.matches.false_subframe[k], scored.matches.false[k]
        peaks = scored.found[index]
        j = int(np.argmin(np.abs(peaks.probability - probability)))
        false.append((index, peaks.x[j], peaks.y[j], probability))
    missed = np.flatnonzero(scored.matches.hit < threshold)
    strongest = missed[np.argsort(-data.blobs["snr"][missed], kind="stable")][:GALLERY]
    return false, [tuple(data.blobs[i][["subframe", "x", "y", "snr"]]) for i in strongest]


def saliency_maps(
    candidate: Path, model: Model, data: Shard, scored: ScoringResult
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return example subframes, correct and wrong, and the gradients of their scores.

    Returns
    -------
    images, gradients : ndarray, shape (7, 256, 256), float32
        Scaled subframes, and the gradient of the best cell's logit with respect to each pixel.
    titles : list of str
    """
    import torch

    from blobwatch.detector.export import load_network

    network = load_network(candidate, model.manifest)
    wrong = np.abs(scored.scores - data.labels)
    order = np.argsort(wrong, kind="stable")
    positive = order[data.labels[order] == 1]
    negative = order[data.labels[order] == 0]
    chosen = np.concatenate([positive[[0, len(positive) // 2, -2, -1]], negative[[0, -2, -1]]])
    images = torch.from_numpy(data.scaled(chosen)[:, None]).requires_grad_()
    (gradients,) = torch.autograd.grad(network(images)[:, 0].amax(dim=(1, 2)).sum(), images)
    titles = [f"true {data.labels[i]}, p {scored.scores[i]:.3f}" for i in chosen]
    return images.detach().numpy()[:, 0], gradients.numpy()[:, 0], titles
