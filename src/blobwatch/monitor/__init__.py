"""The watch: exposures come in, the ledger says where blobs appeared, the team hears of it and answers."""
