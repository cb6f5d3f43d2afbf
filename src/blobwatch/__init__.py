"""blobwatch: detection of new IR blobs on Hubble's WFC3/IR, with versioned data and models.

Conventions of all packages:

* ``image[y, x]``, shape ``(ny, nx)``; pixel centres are whole numbers from 0.
* Coordinates refer to the 1024 x 1024 frame of ``raw`` and ``ima``. A ``flt`` (1014 x 1014) gets a border of
  5 NaN pixels, so ``x_1024 = x_flt + 5``.
* A *blob image* is an exposure divided by its large-scale glow, in fractions of the background: its level is
  about 1, and old and new blobs are dips.
* A *difference image* is the median stack minus the blob image, in fractions of the background:
  a **new blob is positive**, excess light is negative, old blobs cancel.
* SNR of a blob is its amplitude times the L2 norm of its unit-peak shape over the noise per pixel.
* Label 1 means "contains a new blob". Times are MJD (UTC). Flagged or unusable pixels are NaN.
"""

import os

__version__ = "0.1.0"

# Without these, onnxruntime, MLflow and DVC report their use to their makers, and onnxruntime writes a device
# id under the user's cache directory. A value that the user has set is kept.
for _variable in ("ORT_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "DVC_NO_ANALYTICS"):
    os.environ.setdefault(_variable, "true")
