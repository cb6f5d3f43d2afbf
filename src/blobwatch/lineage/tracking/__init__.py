"""MLflow: the store, its runs and its registered versions."""
