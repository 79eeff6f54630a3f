"""What riverlens reaches, beside what others reach, measured in one run.

A simulated device answers in a + b*n by sleeping, so that what is measured is everything around it. Pure:
`cost`, `device.schedule`, `device.wire`, `oracle`, `scenario`, `figures`, `verdict`, `tables`, `plots`.
Shells: `device.server`, `stacks`, `feed`, `events`, `processes`, `line`, `run`.
"""
