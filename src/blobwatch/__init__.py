"""blobwatch: the watch for new IR blobs on Hubble's WFC3/IR, with its data and its models versioned.

Conventions, valid everywhere:

* ``image[y, x]``, shape ``(ny, nx)``; pixel centres are whole numbers, the first one is 0.
* The frame is the 1024 x 1024 frame of ``raw`` and ``ima``. A ``flt`` (1014 x 1014) is embedded into
  it with a border of 5 NaN pixels, so ``x_1024 = x_flt + 5``.
* A *blob image* is an exposure divided by its own large-scale glow: fractions of the background,
  about 1, old and new blobs are dips.
* A *difference image* is the median stack minus the blob image, in fractions of the background:
  a **new blob is positive**, excess light is negative, old blobs cancel.
* SNR of a blob is its amplitude times the L2 norm of its unit-peak shape over the noise per pixel.
* Label 1 is "holds a new blob". Times are MJD (UTC). Flagged or unusable pixels are NaN.
"""

__version__ = "0.1.0"
