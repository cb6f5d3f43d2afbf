"""The verbs of ``dvc.yaml``: each reads files, calls, writes files."""
