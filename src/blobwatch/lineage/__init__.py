"""Model lineage: fingerprints, MLflow runs, versions, promotion criteria and the promotion log."""
