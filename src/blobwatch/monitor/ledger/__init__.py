"""The ledger: exposures, detections, blobs, reviews, notices; the one door to its database."""
