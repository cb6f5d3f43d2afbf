"""``params.yaml``: every error is one sentence that names the key."""

from dataclasses import replace
from functools import reduce

import pytest
import yaml
from conftest import ROOT

from blobwatch.errors import BlobwatchError
from blobwatch.params import load_params
from blobwatch.settings import DifferenceSettings, MonitorSettings, QualitySettings, Settings, load_settings

INVALID = {
    "difference.days": ["thirty", "30", None, True, [30.0], float("nan"), float("inf")],
    "difference.minimum": ["3", True, 3.5, 1],
    "difference.box": [65],
    "simulate.exposures": [0, "many"],
    "simulate.background": [14000, [14000], [14000, 15000, 16000], ["14000", "18000"], [18000.0, 14000.0]],
    "simulate.bad_pixels": [[0.2, 0.1]],
    "simulate.streak_share": [1.5],
    "simulate.stripe_noise": [-0.1],
    "subframes.train": [4000],
    "subframes.train.count": [0, 12.5],
    "subframes.train.blobs": [[0, 3], [3, 1], 3],
    "subframes.test.contaminated": [1.5, "half"],
    "subframes.test.wide": ["far", 1],
    "train": [5],
    "train.architecture": ["resnet", 3, "predecessor"],
    "train.width": [0, 65, 2.5],
    "train.clip": [0.0, 8.0],
    "train.crop": [63, 100, 264],
    "train.crops": [0],
    "baseline.subframes": [0],
    "data.filter": [153],
}


@pytest.fixture
def content() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "params.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return load_params(path)

    return load


def parent(content: dict, key: str) -> dict:
    """Return the section that contains a key."""
    return reduce(dict.__getitem__, key.split(".")[:-1], content)


def test_params_of_the_project_are_valid_and_frozen(params, content):
    assert params.seed == content["seed"]
    assert params.difference.minimum == content["difference"]["minimum"]
    assert params.register_.auc == content["register"]["auc"]
    assert params.subframes.train.blobs == tuple(content["subframes"]["train"]["blobs"])
    with pytest.raises(AttributeError, match="cannot assign"):
        params.difference.minimum = 1


@pytest.mark.parametrize(
    "section",
    ["simulate.", "difference.", "subframes.val.", "train.", "baseline.", "evaluate.", "register.", ""],
)
def test_unknown_key(content, load, section):
    parent(content, section)["windov"] = 3
    with pytest.raises(BlobwatchError, match=rf": {section}windov is not a known key; remove it or correct"):
        load(content)


@pytest.mark.parametrize(
    "key",
    ["seed", "difference", "difference.days", "difference.quality.light", "data.filter", "register.auc"],
)
def test_missing_key(content, load, key):
    del parent(content, key)[key.split(".")[-1]]
    with pytest.raises(BlobwatchError, match=f": {key} is missing; add it"):
        load(content)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in INVALID for value in INVALID[key]])
def test_wrong_type_or_value_names_the_key(content, load, key, value):
    parent(content, key)[key.split(".")[-1]] = value
    with pytest.raises(BlobwatchError, match=rf"params\.yaml: {key}\S* is "):
        load(content)


def test_all_errors_are_reported_together_with_their_values(content, load):
    content["train"]["epochs"] = "few"
    content["difference"]["daze"] = 1
    del content["subframes"]["val"]["wide"]
    message = r"(?s)difference\.daze.*subframes\.val\.wide is missing.*train\.epochs is 'few': Input"
    with pytest.raises(BlobwatchError, match=message):
        load(content)


def test_missing_or_malformed_file(tmp_path, load):
    with pytest.raises(BlobwatchError, match=r"no such file\. Run blobwatch in the project's folder"):
        load_params(tmp_path / "absent.yaml")
    with pytest.raises(BlobwatchError, match="is not valid YAML"):
        load("train: [1, 2")
    for text in ("", "- a\n- b\n", "just words"):
        with pytest.raises(BlobwatchError, match="holds no sections; restore it"):
            load(text)


def test_integers_are_accepted_as_floats(content, load):
    content["difference"]["days"] = 30
    assert load(content).difference.days == 30.0


# Settings of predict, scan and monitor


def test_missing_settings_have_the_defaults_of_the_project(tmp_path, params):
    path = tmp_path / "s.yaml"
    path.write_text("seed: 3\ndifference: {days: 20.0, quality: {sigmas: 4.0}}\n")
    quality = replace(QualitySettings(), sigmas=4.0)
    expected = Settings(replace(DifferenceSettings(), days=20.0, quality=quality), MonitorSettings())
    assert load_settings(path) == expected
    assert load_settings(ROOT / "params.yaml") == load_settings() == Settings()
    assert Settings(params.difference, params.monitor) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("difference: {quality: {sigma: 3.0}}", r"difference\.quality\.sigma is not a known key; remove it"),
        ("monitr: {}", "monitr is not a known key; remove it"),
        ("monitor: {detections: 0}", r"monitor\.detections is 0: .* greater than or equal to 1"),
        ("difference: {quality: {references: 2}}", r"references is 2: .* greater than or equal to 3"),
        ("monitor: {expiry: soon}", r"monitor\.expiry is 'soon'"),
        (None, r"s\.yaml: no such file\. Pass a file like params\.yaml"),
    ],
)
def test_invalid_settings(tmp_path, text, message):
    if text:
        (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(BlobwatchError, match=message):
        load_settings(tmp_path / "s.yaml")
