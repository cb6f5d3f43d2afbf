"""The WFC3/IR instrument: frame, FITS files, blobs, and simulated seasons."""
