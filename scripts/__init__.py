"""What people and container builds run beside the programs."""
