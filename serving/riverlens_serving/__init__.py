"""The embedded model server, and the demo model."""
