"""Stages of ``dvc.yaml``: each reads input files, calls the library and writes output files."""
