"""`riverlens worker check`: what is wrong, before a worker runs.

Shells gather facts: `cluster`, `records` and `clock` from Kafka, `model_server` from the model servers, `run`
from this machine. Pure modules judge them: `findings` brings together those of topics, group, server and
the worker's own settings. Each fact is gathered by itself, so that what fails hides nothing else.
"""
