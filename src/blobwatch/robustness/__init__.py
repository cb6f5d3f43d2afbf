"""Robustness sets: an independent evaluation of detectors on frames from separate generators.

The package does not import the generators of the training data (``dataset``, ``instrument.blobs``,
``instrument.contaminants``, ``instrument.season``) and shares no parameters with them.
"""
