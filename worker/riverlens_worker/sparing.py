"""How many rows a full call takes while one partition is behind and others are not. Pure.

A frame of a partition that keeps up waits for two full calls, the one that runs and its own. Where a call has
a cost of its own, one a little smaller is answered sooner by its rows' cost, and loses next to nothing of the
device's rate: with 20 + 3n ms, 29 rows in place of 32 take 9 ms less at 98 % of the rate. Only the backlog
waits longer for it.

Whether that is so, answers tell: a server that pads calls to the sizes it allows takes as long for 29 rows as
for 32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from riverlens_worker.device import ServiceTimeFit
from riverlens_worker.endpoint_load import EndpointLoad

_RATE_SHARE = 0.98
"""Of the device's rate in full calls, kept at least; by the fit of its cost."""
_ROWS_SHARE = 0.9
"""Of a full call's rows, kept at least: a fit that is wrong costs no more than that."""
_PAYS_SHARE = 0.965
"""Of the rate in full calls, by the answers; below it calls are padded, or the fit is wrong."""
_LEFT_CALLS, _PROVED_CALLS = 1024, 1024
"""Full calls beside a backlog until it is tried again; spared ones until it is to be proved again."""
_UNPROVED_CALLS = 64
"""Spared calls that no answers prove: beside other clients of a server they tell no cost."""


class Sparing:
    """Says how many rows the next full call takes. Writer: the batcher's, once for each such call."""

    __slots__ = ("_beside_backlog", "_left", "_loads", "_proved", "_proved_rows", "_unproved")

    def __init__(
        self, beside_backlog: Callable[[], bool], loads: Callable[[], Sequence[EndpointLoad]]
    ) -> None:
        """`beside_backlog`: whether some partition is behind while another keeps up; `loads`: of servers."""
        self._beside_backlog = beside_backlog
        self._loads = loads
        self._left = self._proved = self._proved_rows = self._unproved = 0

    def rows(self, most: int) -> int:
        """At most `most`, which more rows than that wait for."""
        if not self._beside_backlog():
            return most
        if self._left:
            self._left -= 1
            return most
        fits = [load.fit for load in self._loads()]
        rows = max((spared_rows(fit, most) for fit in fits), default=most)
        if rows == most or rows < self._proved_rows:
            # Another server, or one that costs something else than when it was proved.
            self._proved = self._proved_rows = 0
        return rows if rows < most and self._pays(fits, rows, most) else most

    def _pays(self, fits: Sequence[ServiceTimeFit], rows: int, most: int) -> bool:
        """Whether such calls keep the rate, as far as is known; full ones go where only they can tell."""
        if self._proved:
            self._proved -= 1
            return True
        rates = [(fit.rate(rows, most - 1), fit.rate(most, most)) for fit in fits]
        shares = [spared / full for spared, full in rates if spared is not None and full is not None]
        if any(share < _PAYS_SHARE for share in shares) or self._unproved >= _UNPROVED_CALLS:
            self._left, self._unproved = _LEFT_CALLS, 0
            return False
        if any(full is None for spared, full in rates if spared is not None):
            return False
        self._unproved += 1
        if len(shares) == len(fits):
            self._proved, self._proved_rows, self._unproved = _PROVED_CALLS, rows, 0
        return True


def spared_rows(fit: ServiceTimeFit, most: int) -> int:
    """The fewest rows of a call at which the device keeps its rate; `most` while its cost is unknown."""
    cost = fit.cost()
    if cost is None:
        return most
    a, b = cost
    # n / (a + bn) = share * most / (a + b * most)
    rows = _RATE_SHARE * most * a / (a + (1 - _RATE_SHARE) * b * most) if a > 0 else 0.0
    return min(most, max(math.ceil(rows), math.ceil(_ROWS_SHARE * most)))
