"""The agent's own metrics are stored as configured."""

from __future__ import annotations

from tinyobs.builtin.self_metrics import tinyobs_exporters
from tinyobs.config import loader
from tinyobs.model.families import gauge
from tinyobs.testing.services import FakeServices


def exporters(text):
    """Return the exporters for a configuration, and the services they were made with."""
    services = FakeServices(loader.parse(text, "test.yml"))
    return tinyobs_exporters(services), services


def test_they_are_off_unless_asked_for():
    """A configuration of Prometheus stores what it stores there, nothing more."""
    assert exporters("")[0] == []


def test_job_and_interval_are_those_of_the_configuration():
    """Both have defaults."""
    ((exporter,), _) = exporters("tinyobs: {self_metrics: {enabled: true}}\n")
    assert (exporter.name, exporter.interval_ms, exporter.instance) == ("tinyobs", 15_000, "")
    ((exporter,), _) = exporters("tinyobs: {self_metrics: {enabled: true, job: me, interval: 1m}}\n")
    assert (exporter.name, exporter.interval_ms) == ("me", 60_000)


def test_what_is_collected_is_what_the_agent_gathers():
    """The same families that `/metrics` shows."""
    ((exporter,), services) = exporters("tinyobs: {self_metrics: {enabled: true}}\n")
    services.families = [gauge("x", "Help.", 1)]
    assert exporter.collect() == services.families
