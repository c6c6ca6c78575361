"""`/admin/tsdb/...`: what is asked of the storage, and what the asker is told."""

from __future__ import annotations

from typing import Any

import pytest

from tinyobs.errors import DiskFullError, LimitExceeded, ReadOnlyError, Unavailable
from tinyobs.model.matchers import Matcher, MatchType, equal
from tinyobs.web.api_v1.parameters import TIME_MS_MAX, TIME_MS_MIN
from tinyobs.web.services import StorageAdmin

BASE = "/api/v1/admin/tsdb"
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Admin:
    """Remembers what was asked; raises when told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[Any] = []
        self.error = error
        self.services = StorageAdmin(self.delete, self.clean, self.snapshot, self.compact)

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    async def delete(self, sets: Any, mint_ms: int, maxt_ms: int) -> None:
        self._note("delete", sets, mint_ms, maxt_ms)

    async def clean(self) -> None:
        self._note("clean")

    async def compact(self) -> None:
        self._note("compact")

    async def snapshot(self, skip_head: bool) -> str:
        self._note("snapshot", skip_head)
        return "20261123T101500Z-0123456789abcdef"


@pytest.mark.parametrize("path", ["snapshot", "delete_series", "clean_tombstones", "compact"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_without_the_flag(make_client: Any, path: str, method: str) -> None:
    """The answer is that of Prometheus."""
    answer = await make_client().request(method, f"{BASE}/{path}")
    assert answer.status_code == 500
    assert answer.json() == {"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"}


async def test_only_changing_methods(make_client: Any) -> None:
    """A link or a crawler cannot delete."""
    assert (await make_client(admin=Admin().services).get(f"{BASE}/clean_tombstones")).status_code == 405


@pytest.mark.parametrize(
    ("query", "skip"), [("", False), ("?skip_head=", False), ("?skip_head=true", True), ("?skip_head=0", False)]
)
async def test_snapshot(make_client: Any, query: str, skip: bool) -> None:
    """Its name is told."""
    admin = Admin()
    answer = await make_client(admin=admin.services).post(f"{BASE}/snapshot{query}")
    assert answer.json() == {"status": "success", "data": {"name": "20261123T101500Z-0123456789abcdef"}}
    assert admin.calls == [("snapshot", skip)]


async def test_delete_by_query_and_by_form(make_client: Any) -> None:
    """Selectors and times come from either; without times everything goes."""
    admin = Admin()
    client = make_client(admin=admin.services)
    answer = await client.put(f"{BASE}/delete_series", params={"match[]": ['up{job="x"}', "{a=~'b'}"]})
    assert (answer.status_code, answer.content) == (204, b"")
    answer = await client.post(
        f"{BASE}/delete_series", content="match[]=up&start=1.5&end=1970-01-01T00:00:10Z", headers=FORM
    )
    assert answer.status_code == 204
    up = equal("__name__", "up")
    both = [tuple(sorted(s, key=lambda m: m.name)) for s in admin.calls[0][1]]
    assert both == [(up, equal("job", "x")), (Matcher(MatchType.REGEX, "a", "b"),)]
    assert admin.calls[0][2:] == (TIME_MS_MIN, TIME_MS_MAX)
    assert admin.calls[1] == ("delete", [(up,)], 1500, 10_000)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("delete_series", "no match[] parameter provided"),
        (
            "delete_series?match[]=up{",
            'invalid parameter "match[]": 1:4: parse error: unexpected end of input inside braces',
        ),
        (
            "delete_series?match[]={a=~'.*'}",
            'invalid parameter "match[]": match[] must contain at least one non-empty matcher',
        ),
        (
            "delete_series?match[]=up&start=x",
            'invalid parameter "start": invalid time value for \'start\': cannot parse "x" to a valid timestamp',
        ),
        (
            "snapshot?skip_head=maybe",
            'invalid parameter "skip_head": unable to parse boolean: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
    ],
)
async def test_bad_parameters(make_client: Any, query: str, error: str) -> None:
    """Each is named, and nothing is deleted."""
    admin = Admin()
    answer = await make_client(admin=admin.services).post(f"{BASE}/{query}")
    assert answer.status_code == 400
    assert answer.json() == {"status": "error", "errorType": "bad_data", "error": error}
    assert admin.calls == []


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (LimitExceeded("DELETES_MAX", "too many"), 400, "bad_data"),
        (Unavailable("stopping"), 503, "unavailable"),
        (DiskFullError("full"), 500, "internal"),
        (ReadOnlyError("failed"), 500, "internal"),
    ],
)
async def test_what_the_storage_raises(make_client: Any, error: Exception, status: int, kind: str) -> None:
    """Its words reach the asker."""
    client = make_client(admin=Admin(error).services)
    paths = (
        ("snapshot", "create snapshot: "),
        ("delete_series?match[]=up", ""),
        ("clean_tombstones", ""),
        ("compact", ""),
    )
    for path, before in paths:
        answer = await client.post(f"{BASE}/{path}")
        assert (answer.status_code, answer.json()["errorType"]) == (status, kind)
        assert answer.json()["error"] == (before if kind == "internal" else "") + str(error)
