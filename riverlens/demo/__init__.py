"""`riverlens demo`: the whole line on this machine, on real parts. May import every role."""
