"""Labelled subframes: ground truth, labels, injection, contaminants, splits and shards."""
