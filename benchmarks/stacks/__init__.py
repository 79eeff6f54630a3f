"""Who is measured, each as processes of its own: `commands` says how they are started.

`engineer` and `one_by_one` are the two comparisons; `detector` and `arguments` are what they share.
"""
