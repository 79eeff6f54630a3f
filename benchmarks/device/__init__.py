"""A simulated device behind TensorFlow Serving's gRPC: exact in time, cheap in CPU.

`schedule` and `wire` are pure; `server` sleeps, and `control` speaks HTTP.
"""
