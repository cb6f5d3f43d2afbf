"""``params.yaml``: every fault is one sentence that names the key."""

import copy
from dataclasses import replace

import pytest
import yaml
from conftest import ROOT

from blobwatch.errors import BlobwatchError
from blobwatch.params import load_params
from blobwatch.settings import (
    DifferenceSettings,
    MonitorSettings,
    QualitySettings,
    Settings,
    load_settings,
)


@pytest.fixture
def content() -> dict:
    return copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text()))


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "params.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return load_params(path)

    return load


def test_params_of_the_project_are_valid(params, content):
    assert params.seed == content["seed"]
    assert params.difference.minimum == content["difference"]["minimum"]
    assert params.register_.auc == content["register"]["auc"]
    assert params.subframes.train.blobs == tuple(content["subframes"]["train"]["blobs"])


def test_params_are_frozen(params):
    with pytest.raises(AttributeError, match="cannot assign"):
        params.difference.minimum = 1


@pytest.mark.parametrize(
    "section",
    ["simulate", "difference", "subframes", "train", "baseline", "evaluate", "reference", "register"],
)
def test_unknown_key_of_a_section(content, load, section):
    content[section]["windov"] = 3
    with pytest.raises(BlobwatchError, match=rf"{section}\.windov is not a known key; remove it or correct"):
        load(content)


def test_unknown_section(content, load):
    content["trian"] = {"epochs": 3}
    with pytest.raises(BlobwatchError, match="trian is not a known key"):
        load(content)


@pytest.mark.parametrize(
    ("section", "key"), [(None, "seed"), ("difference", "days"), ("register", "auc"), ("data", "filter")]
)
def test_missing_key(content, load, section, key):
    del (content[section] if section else content)[key]
    name = f"{section}.{key}" if section else key
    with pytest.raises(BlobwatchError, match=f"{name} is missing; add it"):
        load(content)


def test_missing_section(content, load):
    del content["difference"]
    with pytest.raises(BlobwatchError, match="difference is missing; add it"):
        load(content)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("difference", "days", "thirty"),
        ("difference", "days", "30"),
        ("difference", "days", None),
        ("difference", "days", True),
        ("difference", "days", [30.0]),
        ("difference", "days", float("nan")),
        ("difference", "days", float("inf")),
        ("difference", "minimum", "3"),
        ("difference", "minimum", True),
        ("difference", "minimum", 3.5),
        ("difference", "minimum", 1),
        ("difference", "box", 65),
        ("simulate", "exposures", 0),
        ("simulate", "exposures", "many"),
        ("simulate", "streak_share", 1.5),
        ("simulate", "stripe_noise", -0.1),
        ("train", "architecture", "resnet"),
        ("train", "architecture", 3),
        ("train", "architecture", "predecessor"),
        ("train", "width", 0),
        ("train", "width", 65),
        ("train", "width", 2.5),
        ("train", "clip", 0.0),
        ("train", "clip", 8.0),
        ("train", "crop", 63),
        ("train", "crop", 100),
        ("train", "crop", 264),
        ("train", "crops", 0),
        ("baseline", "subframes", 0),
        ("subframes", "train", 4000),
        ("data", "filter", 153),
    ],
)
def test_wrong_type_or_value_names_key_and_value(content, load, section, key, value):
    content[section][key] = value
    with pytest.raises(BlobwatchError, match=rf"params\.yaml: {section}\.{key}\S* is ") as caught:
        load(content)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", 0),
        ("count", 12.5),
        ("blobs", [0, 3]),
        ("blobs", [3, 1]),
        ("blobs", 3),
        ("contaminated", 1.5),
        ("contaminated", "half"),
        ("wide", "far"),
        ("wide", 1),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_wrong_value_in_a_split(content, load, split, key, value):
    content["subframes"][split][key] = value
    with pytest.raises(BlobwatchError, match=rf"params\.yaml: subframes\.{split}\.{key}\S* is "):
        load(content)


@pytest.mark.parametrize("key", ["count", "blobs", "contaminated", "wide"])
def test_missing_and_unknown_key_of_a_split(content, load, key):
    content["subframes"]["val"]["wild"] = content["subframes"]["val"].pop(key)
    with pytest.raises(BlobwatchError, match=rf"subframes\.val\.{key} is missing; add it") as caught:
        load(content)
    assert "subframes.val.wild is not a known key; remove it" in str(caught.value)


@pytest.mark.parametrize("value", [14000, [14000], [14000, 15000, 16000], ["14000", "18000"]])
def test_wrong_pair(content, load, value):
    content["simulate"]["background"] = value
    with pytest.raises(BlobwatchError, match=r"simulate\.background"):
        load(content)


@pytest.mark.parametrize("key", ["background", "bad_pixels"])
def test_descending_range(content, load, key):
    content["simulate"][key] = content["simulate"][key][::-1]
    with pytest.raises(BlobwatchError, match=rf"simulate\.{key}"):
        load(content)


def test_section_of_the_wrong_type(content, load):
    content["train"] = 5
    with pytest.raises(BlobwatchError, match=r"train is 5"):
        load(content)


def test_all_errors_are_reported_together(content, load):
    content["train"]["epochs"] = "few"
    content["difference"]["daze"] = 1
    with pytest.raises(BlobwatchError, match=r"(?s)difference\.daze.*train\.epochs"):
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


def test_default_settings_equal_the_params_of_the_project(params):
    assert Settings(params.difference, params.monitor) == Settings()


def test_missing_settings_have_defaults(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("seed: 3\ndifference: {days: 20.0, quality: {sigmas: 4.0}}\n")
    found = load_settings(path)
    assert found.difference == replace(
        DifferenceSettings(), days=20.0, quality=replace(QualitySettings(), sigmas=4.0)
    )
    assert found.monitor == MonitorSettings()
    assert load_settings(ROOT / "params.yaml") == load_settings() == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("difference: {dayz: 3.0}", r"difference\.dayz is not a known key; remove it or correct its name"),
        ("difference: {quality: {sigma: 3.0}}", r"difference\.quality\.sigma is not a known key"),
        ("monitr: {}", "monitr is not a known key"),
        ("monitor: {detections: 0}", r"monitor\.detections is 0: .* greater than or equal to 1"),
        ("difference: {quality: {references: 2}}", r"references is 2: .* greater than or equal to 3"),
        ("monitor: {expiry: soon}", r"monitor\.expiry is 'soon'"),
        ("- 1", "holds no sections"),
    ],
)
def test_invalid_settings(tmp_path, text, message):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(BlobwatchError, match=message):
        load_settings(path)


def test_missing_settings_file(tmp_path):
    with pytest.raises(BlobwatchError, match=r"s\.yaml: no such file\. Pass a file like params\.yaml"):
        load_settings(tmp_path / "s.yaml")
