"""Loader of ``mlflow.pyfunc.load_model``: a model that predicts like ``blobwatch predict``."""

from pathlib import Path

from blobwatch.predict import Predictor


class PathPredictor:
    """Predict on FITS files with one model."""

    def __init__(self, folder: str):
        self.predictor = Predictor.load(Path(folder))

    def predict(self, images, params: dict | None = None) -> list[dict]:
        """Return the prediction of each difference image.

        Parameters
        ----------
        images : DataFrame
            Column ``image`` with the paths of the files.
        params : dict, optional
            Not used.

        Returns
        -------
        list of dict
            The lines of ``blobwatch predict --json``.
        """
        return [self.predictor.predict_file(path).as_json() for path in images["image"]]


def _load_pyfunc(folder: str) -> PathPredictor:
    """Return the model in a folder, for MLflow."""
    return PathPredictor(folder)
