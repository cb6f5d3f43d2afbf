"""Synthetic images, exposures, subframes, and models without training."""

import json
from pathlib import Path

import numpy as np
from astropy.io import fits

from blobwatch.dataset.shards import Shard
from blobwatch.dataset.subframes import Frame, Recipe, cut_subframes
from blobwatch.instrument.blobs import Blob, overlap, transmission
from blobwatch.instrument.exposures import write_flt

NOISE = 0.01  # per pixel, fraction of the background
EASY = Recipe(snr=(15.0, 30.0), blobs=(1, 3), contaminated=0.0)


def image_with_blobs(blobs: list[Blob], seed: int = 0, noise: float = NOISE) -> np.ndarray:
    """Return a difference image of white noise and blobs, shape (1024, 1024), float32."""
    image = np.random.default_rng(seed).normal(0.0, noise, (1024, 1024))
    for blob in blobs:
        region, part = overlap(*blob.unit_shape(), image.shape)
        image[region] += blob.depth * part
    return image.astype(np.float32)


def frame_from_image(
    image: np.ndarray, new=(), faint=(), noise: float = NOISE, rootname: str = "izzz0000q"
) -> Frame:
    """Return a frame for cutting subframes, with uniform light."""
    light = np.ones_like(image)
    return Frame(image, light, noise, list(new), list(faint), rootname)


def easy_subframes(count: int, seed: int = 0, recipe: Recipe = EASY) -> Shard:
    """Return subframes of white noise, half of them with strong blobs."""
    return cut_subframes(
        np.random.default_rng(seed), frame_from_image(image_with_blobs([], seed)), count, recipe
    )


def box_detector(width: int = 16):
    """Return a compact network with fixed weights: the logit of a cell grows with the local mean.

    It finds blobs of SNR 20 and more in white noise. Its matched filters are off, because a compact bright
    blob has several peaks in them.
    """
    import torch

    from blobwatch.detector.network import build_network

    network = build_network("compact", width).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for convolution, normalisation, _ in network.stem:
            normalisation.weight.fill_(1.0)
            convolution.weight[0, 0] = 1 / convolution.weight[0, 0].numel()  # the mean over the kernel
        for convolution, normalisation, _ in (network.merge, network.last):
            normalisation.weight.fill_(1.0)
            convolution.weight[0, 0, 1, 1] = 1.0
        network.answer.weight[0, 0] = 12.0
        network.answer.bias[0] = -9.6  # a mean of 0.8 sigma is even odds
    return network


def random_network(name: str = "compact", width: int = 16, seed: int = 1):
    """Return a network with random weights and batch normalisations."""
    import torch

    from blobwatch.detector.network import build_network

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(name, width).eval()
        with torch.no_grad():
            for key, buffer in network.named_buffers():
                if key.endswith("mean"):
                    buffer.normal_(0.0, 0.1)
                if key.endswith("var"):
                    buffer.uniform_(0.5, 1.5)
    return network


def write_model(folder: Path, network=None, threshold: float = 0.5, name: str = "compact") -> Path:
    """Write the artefact of a network, by default of the box detector."""
    from blobwatch.detector.export import write_artefact

    folder.mkdir(parents=True, exist_ok=True)
    about = {"threshold": threshold, "fingerprint": {"sha256": "0" * 64, "parts": {}}, "data": {}}
    write_artefact(folder, network or box_detector(), {"name": name, "width": 16}, about)
    return folder


def write_image(path: Path, image: np.ndarray, **cards) -> Path:
    """Write a plain difference image."""
    header = fits.Header()
    header.update(cards)
    fits.PrimaryHDU(image, header=header).writeto(path)
    return path


def write_exposure(folder: Path, number: int, blobs: list[Blob] = (), light=1.0, **cards) -> Path:
    """Write a ``flt`` of uniform light with blobs, taken on day ``number``."""
    rng = np.random.default_rng([9, number])
    seen = light * transmission(list(blobs)) * rng.normal(1.0, 0.007, (1024, 1024))
    inner = slice(5, -5)
    planes = {
        "SCI": 17.0 * seen[inner, inner],
        "ERR": np.full((1014, 1014), 0.1),
        "DQ": np.zeros((1014, 1014)),
        "SAMP": np.full((1014, 1014), 9),
        "TIME": np.full((1014, 1014), 800.0),
    }
    rootname = f"iaaa{number:02d}01q"
    header = fits.Header()
    header.update(
        {"ROOTNAME": rootname, "DETECTOR": "IR", "SUBARRAY": False, "FILTER": "F153M"}
        | {"EXPSTART": 58000.0 + number, "EXPTIME": 802.9}
        | cards
    )
    for key in [key for key, value in cards.items() if value is None]:
        del header[key]
    path = folder / f"{rootname}_flt.fits"
    write_flt(path, header, planes)
    return path


def parse_json_lines(text: str) -> list[dict]:
    """Return the JSON objects of the lines of stdout."""
    return [json.loads(line) for line in text.splitlines()]
