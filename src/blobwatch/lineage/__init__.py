"""Where a model comes from, and which one is deployed: fingerprints, runs, versions, the gate, the log."""
