"""The pushgateway keeps what every receiver and every source promises."""

from __future__ import annotations

import pytest

from tinyobs.abc import ConfigSection
from tinyobs.builtin.pushgateway import tinyobs_routes
from tinyobs.builtin.pushgateway.settings import SECTION, PushgatewaySettings
from tinyobs.builtin.pushgateway.source import Pushgateway
from tinyobs.config import loader
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver
from tinyobs.testing.check_source import check_source
from tinyobs.testing.services import FakeServices

SECTIONS = (ConfigSection(SECTION, PushgatewaySettings),)
GOOD = b'# TYPE a gauge\na 1\nb{x="y"} 2\n'


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_the_receiver_keeps_its_promises(autojump_clock, method):
    """Samples are those of the body and the two times of the group."""
    path = "/metrics/job/j/instance/i"
    case = ReceiverCase(path, GOOD, 4, bad=b"a 1\nno number\n", method=method, sections=SECTIONS)
    await check_receiver(tinyobs_routes, case)


async def test_the_source_keeps_its_promises(autojump_clock):
    """It starts without a storage, and ends when it is told to."""
    services = FakeServices(loader.parse("", "test.yml", SECTIONS))
    await check_source(lambda: Pushgateway(services), services.config)
