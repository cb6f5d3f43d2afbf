"""The audit: what is claimed of a version, held against git, files and bytes."""
