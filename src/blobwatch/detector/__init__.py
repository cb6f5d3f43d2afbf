"""The network, its training and export, the baselines, and their evaluation."""
