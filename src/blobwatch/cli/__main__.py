"""``python -m blobwatch.cli``."""

from blobwatch.cli import main

main()
