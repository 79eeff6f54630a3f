"""How our panels look. Positions follow from the order: Grafana's builder fills 24 columns row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    text,
    timeseries,
)
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import heatmap as h
from grafana_foundation_sdk.models import text as t

SOURCE = d.DataSourceRef(type_val="prometheus", uid="${datasource}")
THIRD, HALF, WHOLE = 8, 12, 24
Meanings = Mapping[int, tuple[str, ...]]
"""By value: a word, its colour; what follows is for others."""
Steps = Sequence[tuple[float | None, str]]
BLUE: Steps = ((None, "blue"),)
QUIET: Steps = ((None, "green"),)
LOAD: Steps = ((None, "green"), (0.85, "orange"), (1, "red"))
"""Of riverlens_load_ratio: at 1 the backlog grows."""


def _ask(panel: Any, queries: Mapping[str, str]) -> None:
    """Enter the queries, legend: expression, as A, B, C."""
    for letter, (legend, expression) in zip(ascii_uppercase, queries.items(), strict=False):
        query = prometheus.Dataquery().ref_id(letter).datasource(SOURCE)
        panel.with_target(query.expr(expression).legend_format(legend).range())


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    marks = [d.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(marks)


def _mapping(words: Meanings) -> list[d.ValueMapping]:
    results = {
        str(code): d.ValueMappingResult(text=word, color=colour, index=index)
        for index, (code, (word, colour, *_)) in enumerate(words.items())
    }
    return [d.ValueMap(options=results)]


def _legend(*, shown: bool) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(c.LegendDisplayMode.LIST).show_legend(shown)
    return legend.placement(c.LegendPlacement.BOTTOM)


@dataclass(frozen=True, slots=True)
class _Explained:
    title: str
    why: str

    def _on(self, panel: Any) -> Any:
        """The builder, with what every panel of data has."""
        return panel.title(self.title).description(self.why).datasource(SOURCE)


@dataclass(frozen=True, slots=True)
class Number(_Explained):
    """One large value, or its word, now. `words` by value, each with a colour; `nothing` where no data is."""

    queries: Mapping[str, str]
    unit: str
    decimals: int = 0
    width: int = 4
    height: int = 5
    steps: Steps = BLUE
    words: Meanings | None = None
    nothing: str = "no frames"

    def panel(self) -> stat.Panel:
        """As Grafana's builder."""
        panel: stat.Panel = self._on(stat.Panel())
        panel.span(self.width).height(self.height).unit(self.unit).decimals(self.decimals)
        panel.thresholds(_thresholds(self.steps)).no_value(self.nothing)
        panel.color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.THRESHOLDS))
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        panel.graph_mode(c.BigValueGraphMode.NONE if self.words else c.BigValueGraphMode.AREA)
        if self.words:
            panel.mappings(_mapping(self.words)).color_mode(c.BigValueColorMode.BACKGROUND)
        _ask(panel, self.queries)
        return panel


@dataclass(frozen=True, slots=True)
class Lines(_Explained):
    """Values over time; `limit` draws a red line."""

    queries: Mapping[str, str]
    unit: str
    decimals: int | None = None
    width: int = THIRD
    stacked: bool = False
    limit: float | None = None

    def panel(self) -> timeseries.Panel:
        """As Grafana's builder."""
        panel: timeseries.Panel = self._on(timeseries.Panel())
        panel.span(self.width).height(8).unit(self.unit).min(0).axis_soft_min(0)
        panel.color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.PALETTE_CLASSIC))
        panel.line_width(1).fill_opacity(25 if self.stacked else 8).show_points(c.VisibilityMode.NEVER)
        stacking = c.StackingMode.NORMAL if self.stacked else c.StackingMode.NONE
        panel.stacking(common.StackingConfig().mode(stacking).group("A")).legend(_legend(shown=True))
        tooltip = common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI)
        panel.tooltip(tooltip.sort(c.SortOrder.DESCENDING))
        if self.decimals is not None:
            panel.decimals(self.decimals)
        if self.limit is not None:
            panel.thresholds(_thresholds(((None, "green"), (self.limit, "red"))))
            panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(c.GraphThresholdsStyleMode.LINE))
        _ask(panel, self.queries)
        return panel


@dataclass(frozen=True, slots=True)
class WordsOverTime(_Explained):
    """A code over time, each value as its word."""

    queries: Mapping[str, str]
    words: Meanings
    width: int = HALF
    height: int = 6

    def panel(self) -> statetimeline.Panel:
        """As Grafana's builder."""
        panel: statetimeline.Panel = self._on(statetimeline.Panel())
        panel.span(self.width).height(self.height).unit("none").mappings(_mapping(self.words))
        panel.merge_values(True).show_value(c.VisibilityMode.AUTO).row_height(0.9).fill_opacity(80)
        panel.color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.THRESHOLDS))
        panel.thresholds(_thresholds(QUIET)).legend(_legend(shown=False))
        _ask(panel, self.queries)
        return panel


@dataclass(frozen=True, slots=True)
class Spread(_Explained):
    """A histogram's buckets over time; `buckets` is a query by `le`."""

    buckets: str
    unit: str = "none"
    width: int = THIRD

    def panel(self) -> heatmap.Panel:
        """As Grafana's builder."""
        panel: heatmap.Panel = self._on(heatmap.Panel())
        colours = heatmap.HeatmapColorOptions().mode(h.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
        panel.span(self.width).height(8).color(colours.exponent(0.5).fill("dark-orange").reverse(False))
        panel.y_axis(heatmap.YAxisConfig().unit(self.unit).axis_placement(c.AxisPlacement.LEFT))
        panel.calculate(False).cell_gap(1).show_value(c.VisibilityMode.NEVER)
        panel.filter_values(heatmap.FilterValueRange().le(1e-09))
        _ask(panel, {"{{le}}": self.buckets})
        return panel


@dataclass(frozen=True, slots=True)
class Words:
    """Markdown to read the panels by."""

    title: str
    markdown: str
    width: int = WHOLE
    height: int = 8

    def panel(self) -> text.Panel:
        """As Grafana's builder."""
        panel = text.Panel().title(self.title).mode(t.TextMode.MARKDOWN).content(self.markdown)
        return panel.span(self.width).height(self.height)


Part = Number | Lines | WordsOverTime | Spread | Words
