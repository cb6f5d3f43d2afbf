"""The labelled subframes: which blobs an exposure shows, injection, cuts, splits, shards."""
