"""Samples made fewer before they are stored or sent: aggregates of many series over time, and one of several replicas.

Pure state machines over columns of samples: no trio, no clock (times are arguments), no storage.  Format of rules and
behaviour: VictoriaMetrics lib/streamaggr; election of replicas: Cortex pkg/ha.
"""
