"""Image processing with numpy: normalise, stack, subtract, clean, scale, cut into subframes."""
