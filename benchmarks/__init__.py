"""What riverlens reaches, beside what others reach, measured in one run.

A simulated device answers in a + b*n by sleeping, so that what is measured is everything around it. Pure:
`cost`, `device.schedule`, `device.wire`, `oracle`, `scenario`, `budget`, `figures`, `latencies`, `checks`,
`targets`, `verdict`, `versus`, `reasons`, `tables`, `page`, `plots`. Shells: `device.server`, `stacks`,
`feed`, `events`, `processes`, `sampling`, `decoding`, `line`, `starts`, `run`, `store`.
"""
