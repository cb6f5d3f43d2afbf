"""Audit of a model version: its recorded lineage is compared with git, the files and their hashes."""
