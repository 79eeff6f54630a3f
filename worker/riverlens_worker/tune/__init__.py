"""`riverlens worker tune`: measures a live model server and writes the settings that suit it.

`plan`, `cost`, `choice` and `files` decide, pure; `images`, `probe` and `load` touch the world; `run` joins
them. Frames under load go through the worker's own batcher, dispatch and predictor.
"""
