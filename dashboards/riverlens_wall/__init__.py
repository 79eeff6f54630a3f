"""The wall: a live web page of cameras, detections and the pipeline, for people who watch."""
