"""What one process does for one job. Nothing imports this package: executors call it by name."""
