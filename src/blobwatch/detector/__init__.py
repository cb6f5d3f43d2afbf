"""The network, its training and export, the baselines, and how good each of them is."""
