"""Every picture, by topic; each function returns a matplotlib ``Figure`` and writes no file."""
