"""`/read`: what is answered and refused over HTTP; the formats have tests of their own."""

from __future__ import annotations

from typing import Any

import cramjam
import trio
import trio.testing
from test_federate import Broken, store
from web_fakes import NOW_MS

from tinyobs.errors import StorageError, Unavailable
from tinyobs.exposition.remote_read import ReadQuery, encode_request
from tinyobs.model.matchers import Matcher, MatchType
from tinyobs.web.api_statistics import ApiStatistics
from tinyobs.web.options import WebOptions

STREAMED = 1


def body(*matchers: Matcher, accepted: tuple[int, ...] = ()) -> bytes:
    """Return a request for everything up to now."""
    return bytes(cramjam.snappy.compress_raw(encode_request([ReadQuery(0, NOW_MS, matchers)], accepted)))


UP = Matcher(MatchType.EQUAL, "__name__", "up")


async def test_samples(make_client: Any) -> None:
    """Snappy-compressed protobuf, with external labels, which a matcher may ask for."""
    queryable = store(({"__name__": "up", "job": "a"}, 5, 1.0), ({"__name__": "other"}, 5, 2.0))
    client = make_client(queryable=queryable, external_labels=lambda: (("dc", "x"),))
    answer = await client.post("/api/v1/read", content=body(UP, Matcher(MatchType.EQUAL, "dc", "x")))
    assert answer.status_code == 200
    assert (answer.headers["content-type"], answer.headers["content-encoding"]) == ("application/x-protobuf", "snappy")
    data = bytes(cramjam.snappy.decompress_raw(answer.content))
    assert b"\x0a\x02dc\x12\x01x" in data
    assert b"other" not in data


async def test_streamed_chunks(make_client: Any) -> None:
    """The frames come in one body without a length; nothing selected is an empty one."""
    queryable = store(*[({"__name__": "up", "n": str(i)}, 5, float(i)) for i in range(2000)])
    client = make_client(queryable=queryable)
    answer = await client.post("/api/v1/read", content=body(UP, accepted=(STREAMED, 0)))
    kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.content.count(b"__name__") == 2000
    nothing = await client.post("/api/v1/read", content=body(Matcher(MatchType.EQUAL, "a", "b"), accepted=(STREAMED,)))
    assert (nothing.status_code, nothing.content) == (200, b"")


async def test_refusals_are_plain_text(make_client: Any) -> None:
    """400 for the request, 500 for the storage, in either form of an answer; GET is no method of it."""
    client = make_client()
    for content in (b"\xff\xff\xff", body(accepted=(9,))):
        assert (await client.post("/api/v1/read", content=content)).status_code == 400
    assert (await client.get("/api/v1/read")).status_code == 405
    for accepted in ((), (STREAMED,)):
        for error, status in ((StorageError("broken"), 500), (Unavailable("opening"), 503)):
            broken = make_client(queryable=Broken(error))
            answer = await broken.post("/api/v1/read", content=body(UP, accepted=accepted))
            assert (answer.status_code, answer.text) == (status, f"{error}\n")


async def test_the_limit_on_samples_is_for_answers_that_are_not_streamed(make_client: Any) -> None:
    """As in Prometheus; 0 is no limit."""
    queryable = store(*[({"__name__": "up", "n": str(i)}, 5, float(i)) for i in range(3)])
    limited = make_client(WebOptions(read_samples_max=2), queryable=queryable)
    answer = await limited.post("/api/v1/read", content=body(UP))
    assert (answer.status_code, answer.text) == (400, "exceeded sample limit (2)\n")
    assert (await limited.post("/api/v1/read", content=body(UP, accepted=(STREAMED,)))).status_code == 200
    free = make_client(WebOptions(read_samples_max=0, reads_max=0), queryable=queryable)
    assert (await free.post("/api/v1/read", content=body(UP))).status_code == 200


async def test_only_so_many_reads_run_at_one_time(make_client: Any) -> None:
    """The others wait, and are counted meanwhile."""
    statistics, running = ApiStatistics(), trio.Event()

    class Waits:
        def querier(self, mint_ms: int, maxt_ms: int) -> Any:
            trio.from_thread.run_sync(running.set)
            trio.from_thread.run(trio.sleep_forever)

    def reads() -> float:
        (found,) = [f for f in statistics.families() if f.name == "prometheus_remote_read_handler_queries"]
        return found.points[0].value

    client = make_client(WebOptions(reads_max=1), queryable=Waits(), statistics=statistics)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(lambda: client.post("/api/v1/read", content=body(UP)))
        await running.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert reads() == 2
        nursery.cancel_scope.cancel()
    assert reads() == 0
