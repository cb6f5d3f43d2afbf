"""What WFC3/IR is: its frame and facts, its FITS files, its blobs, and a simulated season of it."""
