"""What is done to exposures: normalise, stack, subtract, scale, cut into subframes. numpy only."""
