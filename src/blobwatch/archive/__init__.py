"""Real exposures of the archive: queries, downloads, the manifest, and scans of many files."""
