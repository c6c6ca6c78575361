"""A whole agent scrapes a target and sends what it stored: what the first request holds, and the alerts on its metrics."""

from __future__ import annotations

import cramjam
import numpy as np
import trio
from http_peers import serving

from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.targets import OPENMETRICS, FakeTarget, fake_target

BODY = b"""\
# HELP jobs Jobs that were done.
# TYPE jobs counter
jobs_total{queue="mail"} 17.0 # {trace_id="abc"} 1.0
jobs_created{queue="mail"} 1700000000.0
# HELP took_seconds How long they took.
# TYPE took_seconds histogram
# UNIT took_seconds seconds
took_seconds_bucket{le="1.0"} 3 # {trace_id="def"} 0.5
took_seconds_bucket{le="+Inf"} 4
took_seconds_sum 5.5
took_seconds_count 4
took_seconds_created 1700000001.0
# EOF
"""
CONFIG = """\
scrape_configs: [{{job_name: j, scrape_interval: 2s, static_configs: [{{targets: ['{target}']}}]}}]
remote_write:
- url: http://{receiver}/w
  name: far
  protobuf_message: io.prometheus.write.v2.Request
  send_exemplars: true
  queue_config: {{batch_send_deadline: 500ms}}
tinyobs: {{features: [st-storage]}}
"""
WRITTEN = [(f"X-Prometheus-Remote-Write-{kind}-Written", "1000") for kind in ("Samples", "Histograms", "Exemplars")]


async def test_the_first_request_is_complete(tmp_path):
    """Samples with their metadata, start times and exemplars, all of one scrape in one request."""
    async with (
        fake_target(FakeTarget(BODY, OPENMETRICS)) as target,
        serving(lambda _: (204, WRITTEN, b"")) as receiver,
    ):
        text = CONFIG.format(target=target.address, receiver=receiver.address)
        settings = AgentSettings(config_text=text, storage_url=f"file:{tmp_path / 'data'}", listen=())
        async with running_agent(settings):
            with trio.fail_after(60):
                await until(lambda: bool(receiver.asked))
    request = Request2.FromString(bytes(cramjam.snappy.decompress_raw(receiver.asked[0].body)))
    found = {}
    for series in request.timeseries:
        texts = [request.symbols[i] for i in series.labels_refs]
        labels = dict(zip(texts[::2], texts[1::2], strict=True))
        assert len(series.samples) == 1
        found[labels["__name__"] + labels.get("le", "")] = series
    jobs, took = found["jobs_total"], found["took_seconds_bucket1.0"]
    assert {"up", "scrape_duration_seconds"} <= set(found)
    assert (jobs.metadata.type, request.symbols[jobs.metadata.help_ref]) == (1, "Jobs that were done.")
    assert (took.metadata.type, request.symbols[took.metadata.unit_ref]) == (3, "seconds")
    assert jobs.samples[0].start_timestamp == 1_700_000_000_000
    assert took.samples[0].start_timestamp == 1_700_000_001_000
    exemplars = [[request.symbols[i] for i in e.labels_refs] for s in (jobs, took) for e in s.exemplars]
    assert exemplars == [["trace_id", "abc"], ["trace_id", "def"]]


FAILURES = """\
(rate({p}failed_samples_total[5m]) or rate({p}samples_failed_total[5m]))
/ ((rate({p}failed_samples_total[5m]) or rate({p}samples_failed_total[5m]))
  + (rate({p}succeeded_samples_total[5m]) or rate({p}samples_total[5m]))) * 100 > 1"""
BEHIND = """\
(max_over_time({p}highest_timestamp_in_seconds[5m])
- ignoring(remote_name, url) group_right
max_over_time({p}queue_highest_sent_timestamp_seconds[5m])) > 120"""
BEHIND_NEWER = """\
(max_over_time({p}queue_highest_timestamp_seconds[5m])
- max_over_time({p}queue_highest_sent_timestamp_seconds[5m])) > 120"""
SHARDS = "max_over_time({p}shards_desired[5m]) > max_over_time({p}shards_max[5m])"


async def test_the_alerts_of_the_mixin_work(tmp_path):
    """Failures, a destination that is behind, too few shards: each is told by what the agent says of itself."""
    replies = [204, 400]
    async with serving(lambda _: (replies.pop(0) if replies else 503, [], b"")) as receiver:
        text = f"remote_write: [{{url: 'http://{receiver.address}/w', name: far, metadata_config: {{send: false}}, "
        text += "queue_config: {batch_send_deadline: 10ms}}]\ntinyobs: {self_metrics: {enabled: false}}\n"
        settings = AgentSettings(config_text=text, storage_url=f"file:{tmp_path / 'data'}")
        async with running_agent(settings) as running:
            agent = running.agent
            refs = agent.registry.intern_many([from_mapping({"__name__": "x"})])

            async def send(at_ms):
                await agent.append(Batch(refs, np.array([at_ms]), np.array([1.0]), "test"))

            now = agent.clock.now_ms()
            with trio.fail_after(60):
                await store_own(agent, now - 200_000)
                await send(now - 300_000)
                await until(lambda: len(receiver.asked) == 1)
                await send(now - 290_000)
                await until(lambda: len(receiver.asked) == 2)
                await send(now)
                await until(lambda: len(receiver.asked) > 2)
                destination = agent.component("remote_write")._running["far"]
                destination._scaling.desired = 70.0
                await store_own(agent, now - 1)
            for expression in (FAILURES, BEHIND, BEHIND_NEWER, SHARDS):
                found = await running.query(expression.format(p="prometheus_remote_storage_"))
                assert len(found) == 1, expression
                assert 'remote_name="far"' in next(iter(found)), found


async def store_own(agent, at_ms):
    """Store what the agent says of itself, as a scrape would."""
    points = [
        (from_mapping({**dict(point.labels), "__name__": family.name + point.suffix}), point.value)
        for family in agent.gather()
        if family.name.startswith("prometheus_remote_storage_")
        for point in family.points
    ]
    refs = agent.registry.intern_many([labels for labels, _ in points])
    values = np.array([value for _, value in points])
    await agent.append(Batch(refs, np.full(len(refs), at_ms), values, "test"))


async def test_a_new_destination_begins_in_the_past(tmp_path):
    """With `start: oldest` it gets what was stored before it was configured; after a restart nothing is sent again."""

    def samples(receiver):
        """Return the samples of all requests."""
        out = []
        for asked in receiver.asked:
            message = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(asked.body)))
            out += [s.value for series in message.timeseries for s in series.samples]
        return sorted(out)

    def settings(text):
        """Return the settings of an agent that has nothing but this configuration."""
        return AgentSettings(config_text=text + OFF, storage_url=f"file:{tmp_path / 'data'}", listen=())

    async with serving(lambda _: (204, [], b"")) as receiver:
        text = f"remote_write: [{{url: 'http://{receiver.address}/w', name: far, metadata_config: {{send: false}}, "
        text += "queue_config: {batch_send_deadline: 10ms}}]\n"
        for config, value in (("", 1.0), ("", 2.0), (text, 3.0), (text, 4.0)):
            async with running_agent(settings(config)) as running:
                await running.store("x", value)
                if config:
                    with trio.fail_after(60):
                        await until(lambda value=value: len(samples(receiver)) >= value)
        assert samples(receiver) == [1.0, 2.0, 3.0, 4.0]


OFF = "tinyobs: {self_metrics: {enabled: false}, remote_write: {start: oldest}, storage: {log_keep: 1h}}\n"
