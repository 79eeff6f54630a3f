"""The worker: frames -> batches -> Predict -> events."""
