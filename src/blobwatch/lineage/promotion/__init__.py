"""What is deployed: the log, the gates in front of it, and the act itself."""
