"""`riverlens worker redrive`: puts dead letters back onto the frames topic.

`letter`, `selection`, `memory` and `table` decide and are pure; `claim`, `reader` and `writer` are Kafka;
`run` joins them.
"""
