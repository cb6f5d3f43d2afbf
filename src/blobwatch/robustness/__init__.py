"""Robustness sets: an independent measurement of a detector, with frames from generators of their own.

Nothing here imports the generators of the training data (``dataset``, ``instrument.blobs``,
``instrument.contaminants``, ``instrument.season``), and no parameter is shared with them.
"""
