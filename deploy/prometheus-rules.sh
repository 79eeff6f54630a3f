#!/bin/sh
# The recording rules and alerts of dashboards/prometheus/rules for the Prometheus operator, on standard output:
#   sh deploy/prometheus-rules.sh | kubectl apply -f -
set -eu
cd "$(dirname "$0")/../dashboards/prometheus/rules"
for file in *.yml; do
    cat <<EOF
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: riverlens-${file%.yml}
  namespace: riverlens
  labels: {app.kubernetes.io/name: riverlens}
spec:
EOF
    sed 's/^/  /; s/ *$//' "$file"
done
