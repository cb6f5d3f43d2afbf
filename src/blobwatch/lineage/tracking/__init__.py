"""MLflow: its store, the runs and versions in it, and what it says of them."""
