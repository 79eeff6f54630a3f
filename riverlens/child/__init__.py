"""Programs that riverlens starts and that end with it, however it ends.

`ChildProcess` is one of them; `guard.py` is the process between, which sees that it ends.
"""

from riverlens.child.process import ChildProcess

__all__ = ["ChildProcess"]
