"""What all dashboards share: identity, variables, links to each other, alerts as marks on every panel."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as d

from riverlens_dashboards.parts import SOURCE, Part

_ALERTS = 'ALERTS{alertname=~"Riverlens.+",alertstate="firing"}'


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """A choice among the values of a label: all of them at first."""
    everything = d.VariableOption(selected=True, text=["All"], value=["$__all"])
    variable = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
    variable.refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(d.VariableSort.ALPHABETICAL_ASC)
    return variable.include_all(True).all_value(".*").multi(True).current(everything)


PIPELINE = _variable("job", "Pipeline", "label_values(riverlens_state, job)")
WORKER = _variable("instance", "Worker", 'label_values(riverlens_state{job=~"$job"}, instance)')
CAMERAS = _variable("camera", "Camera", 'label_values(riverlens_camera_frames_total{job=~"$job"}, camera)')
SERVERS = _variable("server", "Model server", 'label_values(up{job=~"(.+/)?tensorflow-serving.*"}, instance)')


def board(
    uid: str, title: str, why: str, variables: Sequence[dashboard.QueryVariable]
) -> dashboard.Dashboard:
    """A dashboard without panels; `uid` is its address in Grafana, for good."""
    made = dashboard.Dashboard(f"riverlens: {title}").uid(f"riverlens-{uid}").description(why)
    made.tags(["riverlens"]).tooltip(d.DashboardCursorSync.CROSSHAIR).refresh("5s").timezone("browser")
    made.time("now-15m", "now").version(1).editable()
    others = dashboard.DashboardLink("riverlens").type(d.DashboardLinkType.DASHBOARDS).tags(["riverlens"])
    made.link(others.keep_time(True).include_vars(True))
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    made.with_variable(source)
    for variable in variables:
        made.with_variable(variable)
    marks = dashboard.AnnotationQuery().name("Alerts").datasource(SOURCE).enable(True).hide(False)
    return made.annotation(marks.icon_color("red").expr(_ALERTS))


def fill(made: dashboard.Dashboard, rows: Sequence[tuple[str, Sequence[Part]]]) -> d.Dashboard:
    """The rows, each a title and its panels, numbered in order."""
    for title, parts in rows:
        made.with_row(dashboard.Row(title))
        for part in parts:
            made.with_panel(part.panel())
    built = made.build()
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    return built
