"""Promotion: the log, the criteria and the deployment of a version."""
