"""Makes the Grafana dashboards, with Grafana's own models: `make dashboards` writes their JSON.

Each dashboard is a module with `dashboard()`; `parts` knows how our panels look, `promql` how our queries
are written, `bottleneck` what the codes of `riverlens:bottleneck` mean.
"""
