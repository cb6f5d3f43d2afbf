"""Monitor of incoming exposures: analysis, ledger of blobs, notices, web pages, reviews."""
