"""OTLP metrics, receiving: bodies of `ExportMetricsServiceRequest` -> batches, named and shaped as Prometheus does.

    schema.py      the messages, and the numbers in them
    names.py       names of metrics, labels and units
    values.py      values of attributes as texts
    rules.py       what is configured, and what follows from it for a resource, a scope and a metric
    histograms.py  exponential and explicit buckets -> native histograms
    points.py      the general way: one data point -> samples
    deltas.py      delta temporality -> running totals
    json_form.py   the JSON form of the messages
    walk.py        the fast way: a body cut into its metrics and data points
    cut.py         the data of many metrics cut into points at once
    contexts.py    what is around points, recognised by its bytes
    outlines.py    bodies that differ in nothing but points
    forms.py       where in a point its numbers stand
    known.py       which data points were seen before
    plan.py        numbers gathered from a body; bodies that look like one before
    planning.py    from known points to a plan
    assembly.py    the batch of a request
    decoder.py     all of it together
    answers.py     what a request is answered with

Format: https://opentelemetry.io/docs/specs/otlp/ and opentelemetry/proto/metrics/v1/metrics.proto.  Source of the rules:
prometheus storage/remote/otlptranslator/prometheusremotewrite and prometheus/otlptranslator.
"""
