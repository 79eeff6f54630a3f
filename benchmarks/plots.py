"""Latency over load as SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Row = Mapping[str, Any]

_WIDTH, _HEIGHT, _MARGIN = 640, 400, 56
_COLOURS = {
    "riverlens": "#0b7285",
    "engineer": "#e8590c",
    "one-by-one": "#862e9c",
    "oracle": "#868e96",
    "hops": "#2f9e44",
}
_LOADS = (0.3, 0.6, 0.9)


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot: points (load, milliseconds)."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool


def latency_series(rows: Iterable[Row], device: str) -> list[Series]:
    """p50 and, dashed, p99 of every stack and of the oracle, over the load of one device."""
    points: dict[tuple[str, bool], dict[float, float]] = {}
    for row in rows:
        if not (
            row["plain"] and row["kind"] == "paced" and row["device"] == device and row["mode"] == "jpeg"
        ):
            continue
        group = row["latency"].get("all", {})
        for percent, dashed in ((50, False), (99, True)):
            for name, key in ((row["stack"], f"p{percent}_ms"), ("oracle", f"oracle_p{percent}_ms")):
                if group.get(key) is not None and row["load"] in _LOADS:
                    points.setdefault((name, dashed), {})[row["load"]] = group[key]
    return [Series(name, sorted(found.items()), dashed) for (name, dashed), found in points.items()]


def latency_plot(rows: Iterable[Row], device: str, most_ms: float) -> str:
    """The plot; what lies above `most_ms` is cut off."""
    series = latency_series(rows, device)
    top_ms = min(most_ms, max((ms for one in series for _, ms in one.points), default=1.0)) * 1.1
    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    title = f"Capture to event, {escape(device)} device: p50, dashed p99"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        f'<rect {size} fill="white"/>',
        f'<text x="{_MARGIN}" y="20" font-size="14">{title}</text>',
        *_axes(top_ms),
        *(line for place, one in enumerate(series) for line in _line(one, place, top_ms)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(load: float) -> float:
    return _MARGIN + (load - 0.2) / 0.8 * (_WIDTH - 3.2 * _MARGIN)


def _y(milliseconds: float, top_ms: float) -> float:
    return _HEIGHT - _MARGIN - min(milliseconds / top_ms, 1.0) * (_HEIGHT - 2 * _MARGIN)


def _axes(top_ms: float) -> Iterable[str]:
    for load in _LOADS:
        yield f'<text x="{_x(load):.0f}" y="{_HEIGHT - _MARGIN + 18}" text-anchor="middle">{load:.0%}</text>'
    for step in range(5):
        level = top_ms * step / 4
        y = _y(level, top_ms)
        yield f'<line x1="{_MARGIN}" x2="{_x(1.0):.0f}" y1="{y:.0f}" y2="{y:.0f}" stroke="#dee2e6"/>'
        yield f'<text x="{_MARGIN - 6}" y="{y + 4:.0f}" text-anchor="end">{level:.0f} ms</text>'


def _line(series: Series, place: int, top_ms: float) -> Iterable[str]:
    colour = _COLOURS.get(series.name, "#212529")
    dashes = ' stroke-dasharray="5 4"' if series.dashed else ""
    path = " ".join(f"{_x(load):.1f},{_y(ms, top_ms):.1f}" for load, ms in series.points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    label = f"{series.name} p{99 if series.dashed else 50}"
    y = _MARGIN + 16 * place
    yield f'<text x="{_x(1.0) + 8:.0f}" y="{y}" fill="{colour}">{escape(label)}</text>'
