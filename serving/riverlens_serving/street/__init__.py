"""The demo's detector: a small CenterNet-like network for synthetic streets.

`python -m riverlens_serving.street.train` draws scenes, trains, prints the score on held-out scenes and
exports a SavedModel. `network` is the shape, `targets` and `losses` how it learns, `boxes` how heatmaps
become boxes, `score` what mAP means, `export` what is served.
"""
