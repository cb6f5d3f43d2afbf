"""Ledger: database of exposures, detections, blobs, reviews and notices."""
