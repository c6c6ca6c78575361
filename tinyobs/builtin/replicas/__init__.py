"""Stores the samples of one of several replicas that send the same series, as the HA trackers of Cortex and Mimir do.

A processor in front of the others: it looks at the labels that name the cluster and the replica, keeps the samples of the
elected replica, and takes the label of the replica off, so that all replicas write the same series.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Processor, Services
from ...hookspecs import hookimpl
from .processor import Replicas
from .settings import SECTION, ReplicaSettings


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `replicas`."""
    return [ConfigSection(SECTION, ReplicaSettings)]


@hookimpl
def tinyobs_processors(services: Services) -> Sequence[Processor]:
    """Return the processor that chooses."""
    return [Replicas(services)]
