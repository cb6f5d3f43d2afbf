"""The archive of real exposures: which there are, fetched whole, and listed in a manifest."""
