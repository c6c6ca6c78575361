"""Discovery against an API server: adds, changes, removals, joins, errors, reconnects, sharing."""

from __future__ import annotations

import pytest
import trio
from kubernetes_api import FakeKubernetes, serving
from kubernetes_discovering import discovering, entry
from kubernetes_groups import P
from kubernetes_objects import (
    endpoint_slice,
    endpoints,
    ingress,
    node,
    owner,
    pod,
    port,
    reference,
    rule,
    service,
    subset,
    thing,
)
from trio.testing import MockClock

from tinyobs.abc import DiscovererKind
from tinyobs.builtin import kubernetes_sd
from tinyobs.builtin.kubernetes_sd import client, views, watching
from tinyobs.config.http_client import Authorization, HttpClientConfig
from tinyobs.config.kubernetes_sd import AttachMetadata, Namespaces, Role, Selector
from tinyobs.testing.check_discoverer import check_discoverer

HTTP = port("http", 8080, key="port")


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    """Let the clock jump, though not while a thread reads a list or a socket has something."""
    autojump_clock.autojump_threshold = 0.05
    return autojump_clock


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons of errors that are logged."""
    reasons: list[str] = []

    class Log:
        def error(self, event: str, **fields: str) -> None:
            reasons.append(fields["reason"])

        def info(self, event: str, **fields: str) -> None:
            """Pass over."""

    monkeypatch.setattr(watching, "log", Log())
    return reasons


def kind() -> DiscovererKind:
    """Return the kind of discovery."""
    (found,) = kubernetes_sd.tinyobs_discoverers()
    return found


EVERYTHING = {
    Role.POD: ("pods", pod()),
    Role.SERVICE: ("services", service()),
    Role.NODE: ("nodes", node()),
    Role.INGRESS: ("ingresses", ingress(rules=[rule("a.test", "/")])),
    Role.ENDPOINTS: ("endpoints", endpoints("web", "default", subset([HTTP], [{"ip": "10.1.0.7"}]))),
    Role.ENDPOINTSLICE: ("endpointslices", endpoint_slice()),
}
SOURCES = {
    Role.POD: "pod/default/web-1",
    Role.SERVICE: "svc/default/web",
    Role.NODE: "node/n1",
    Role.INGRESS: "ingress/default/site",
    Role.ENDPOINTS: "endpoints/default/web",
    Role.ENDPOINTSLICE: "endpointslice/default/web-abc",
}


@pytest.mark.parametrize("role", list(Role))
async def test_the_contract_of_discoverers(clock: MockClock, role: Role) -> None:
    """Each role keeps what the contract promises, and names its groups as Prometheus does."""
    async with serving() as api:
        api.put(*EVERYTHING[role])
        groups = await check_discoverer(kind(), entry(api, role))
    assert [g.source for g in groups] == [SOURCES[role]]


@pytest.mark.parametrize("role", list(Role))
async def test_objects_come_change_and_go(clock: MockClock, role: Role) -> None:
    """What is there at the start, what is added, changed, and removed; each is published, and only that."""
    resource, raw = EVERYTHING[role]
    key = SOURCES[role].partition("/")[2]
    async with serving() as api, discovering(entry(api, role)) as found:
        assert found.calls == [[]]
        await api.until_watched()
        api.put(resource, raw)
        await found.until(lambda: found.groups)
        before = found.groups[SOURCES[role]]
        api.put(resource, {**raw, "metadata": {**raw["metadata"], "annotations": {"new": "1"}}})
        await found.until(lambda: found.groups[SOURCES[role]] != before)
        api.delete(resource, key)
        await found.until(lambda: not found.groups)
        events = {event: n for (of, event), n in found.statistics.events_total.items() if of == role.value}
    assert found.calls == [[], *([[SOURCES[role]]] * 3)]
    assert events == {"add": 1, "update": 1, "delete": 1}
    assert found.failures == found.statistics.failures_total == 0


async def test_what_does_not_matter_is_not_published(clock: MockClock) -> None:
    """A heartbeat changes an object and no target; the event is counted."""
    async with serving() as api:
        api.put("pods", pod())
        async with discovering(entry(api)) as found:
            await api.until_watched()
            beat = pod()
            beat["status"]["conditions"][1]["lastProbeTime"] = "later"
            api.put("pods", beat)
            api.put("pods", pod("web-2", ip="10.1.0.8"))
            await found.until(lambda: len(found.groups) == 2)
            assert found.statistics.events_total["pod", "update"] == 1
    assert found.calls == [["pod/default/web-1"], ["pod/default/web-2"]]


async def test_bursts_are_gathered(clock: MockClock) -> None:
    """A group that changes many times within a moment is published once, as it is at the end."""
    async with serving() as api, discovering(entry(api)) as found:
        await api.until_watched()
        for n in range(50):
            api.put("pods", pod(ip=f"10.1.0.{n}"))
        await found.until(lambda: found.addresses == ["10.1.0.49:8080"])
    assert len(found.calls) <= 3


async def test_long_lists_come_in_pages(clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page is asked for with the token of the one before; the watch begins where the list was made."""
    monkeypatch.setattr(client, "PAGE_OBJECTS", 2)
    async with serving() as api:
        for n in range(5):
            api.put("pods", pod(f"p{n}", ip=f"10.1.0.{n}"))
        async with discovering(entry(api)) as found:
            await api.until_watched()
            assert len(found.groups) == 5
    assert api.asked("pods", "list") == [
        {"limit": "2"},
        {"limit": "2", "continue": "2"},
        {"limit": "2", "continue": "4"},
    ]
    (watch,) = api.asked("pods", "watch")
    assert watch.pop("timeoutSeconds").isdecimal()
    assert watch == {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": "105"}


async def test_a_list_that_expires_is_asked_for_in_one_piece(clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server forgets the place between two pages; that is no failure."""
    monkeypatch.setattr(client, "PAGE_OBJECTS", 2)
    async with serving(FakeKubernetes(expired_pages=1)) as api:
        for n in range(3):
            api.put("pods", pod(f"p{n}", ip=f"10.1.0.{n}"))
        async with discovering(entry(api)) as found:
            assert len(found.groups) == 3
    assert api.asked("pods", "list") == [{"limit": "2"}, {"limit": "2", "continue": "2"}, {}]
    assert found.failures == 0


async def test_a_watch_that_ends_goes_on_where_it_was(clock: MockClock) -> None:
    """After the time that was asked for, after a bookmark, after a broken connection: no list is needed again."""
    async with serving() as api, discovering(entry(api)) as found:
        await api.until_watched()
        api.put("pods", pod())
        await found.until(lambda: found.groups)
        api.bookmark()
        api.version += 50
        api.bookmark()
        await trio.sleep(500)
        await api.until_watched()
        api.break_watches()
        api.put("pods", pod("web-2", ip="10.1.0.8"))
        await found.until(lambda: len(found.groups) == 2)
    assert [q["resourceVersion"] for q in api.asked("pods", "watch")][:3] == ["100", "151", "151"]
    assert len(api.asked("pods", "list")) == 1
    assert found.failures == 0


@pytest.mark.parametrize("how", ["status", "event"])
async def test_a_version_that_is_forgotten_has_the_list_asked_for_again(clock: MockClock, how: str) -> None:
    """410 comes as an answer or as an event; what changed meanwhile is published, and nothing else."""
    async with serving() as api:
        for n in range(3):
            api.put("pods", pod(f"p{n}", ip=f"10.1.0.{n}"))
        async with discovering(entry(api)) as found:
            await api.until_watched()
            await trio.sleep(10)
            api.bookmark()
            if how == "event":
                api.send_error(410, "too old resource version")
            else:
                api.break_watches()
            api.delete("pods", "default/p0")
            api.put("pods", pod("p1", ip="10.1.1.1"))
            api.put("pods", pod("p3", ip="10.1.0.3"))
            api.forget()
            await found.until(lambda: "pod/default/p3" in found.groups)
    assert sorted(found.calls[1]) == ["pod/default/p0", "pod/default/p1", "pod/default/p3"]
    assert found.addresses == ["10.1.0.2:8080", "10.1.0.3:8080", "10.1.1.1:8080"]
    assert len(api.asked("pods", "list")) == 2
    assert found.failures == 0


async def test_a_server_that_forgets_at_once_is_not_asked_without_end(clock: MockClock) -> None:
    """A version that is too old right after the list is a failure, with pauses that grow."""
    async with serving() as api:
        api.put("pods", pod())
        api.refused["pods/watch"] = (410, "too old")
        async with discovering(entry(api)) as found:
            await found.until(lambda: found.failures == 6)
            assert trio.current_time() > 10
            assert found.addresses == ["10.1.0.7:8080"]
        assert len(api.asked("pods", "list")) == 6


async def test_the_last_good_targets_stay_while_the_server_is_away(clock: MockClock) -> None:
    """Refused connections and errors are counted, and logged once; after that the watch goes on."""
    async with serving() as api:
        api.put("pods", pod())
        async with discovering(entry(api)) as found:
            await api.until_watched()
            await trio.sleep(2)
            api.refused["pods"] = (503, "etcd is away")
            api.break_watches()
            await found.until(lambda: found.failures == 3)
            assert found.addresses == ["10.1.0.7:8080"]
            del api.refused["pods"]
            api.put("pods", pod("web-2", ip="10.1.0.8"))
            await found.until(lambda: len(found.groups) == 2)
            statistics = found.statistics
    assert statistics.failures_total == found.failures
    assert statistics.http_requests_total["503"] == found.failures
    assert len(api.asked("pods", "list")) == 1


async def test_a_server_that_is_not_there_at_the_start(clock: MockClock) -> None:
    """The start does not wait for it; its targets come when it does."""
    async with serving() as api:
        api.put("pods", pod())
        api.refused["pods"] = (503, "starting")
        async with discovering(entry(api)) as found:
            assert found.calls == [[]]
            await found.until(lambda: found.failures == 2)
            del api.refused["pods"]
            await found.until(lambda: found.groups)


async def test_retry_after_is_heeded(clock: MockClock) -> None:
    """A server that is overloaded says how long to wait."""
    async with serving(FakeKubernetes(retry_after="77")) as api:
        api.refused["pods"] = (429, "too many requests")
        async with discovering(entry(api)) as found:
            began = trio.current_time()
            await found.until(lambda: found.failures == 3)
            assert trio.current_time() - began >= 2 * 77


@pytest.mark.parametrize(
    ("status", "role", "text"),
    [
        (403, Role.POD, 'grant the verbs "list" and "watch" on the resource "pods": pods is forbidden'),
        (403, Role.INGRESS, 'on the resource "ingresses" of the API group "networking.k8s.io": pods is forbidden'),
        (401, Role.POD, "the API server does not accept the credentials, to list pods in all namespaces (401)"),
        (
            404,
            Role.ENDPOINTSLICE,
            "the API server has no endpointslices at /apis/discovery.k8s.io/v1/endpointslices (404)",
        ),
        (500, Role.NODE, "the API server answers 500 Internal Server Error to list nodes: pods is forbidden"),
    ],
)
async def test_refusals_say_what_to_do(clock: MockClock, status: int, role: Role, text: str, logged: list[str]) -> None:
    """Verb, resource, group, and what the server says of it; a failure that lasts is told once."""
    resource, _ = EVERYTHING[role]
    async with serving() as api:
        api.refused[resource] = (status, "pods is forbidden")
        async with discovering(entry(api, role)) as found:
            await found.until(lambda: found.failures == 3)
    assert [line for line in logged if text in line] == logged
    assert len(logged) == 1


async def test_the_right_to_watch_is_one_of_its_own(clock: MockClock) -> None:
    """With the list alone there are targets, and the error names the verb."""
    async with serving() as api:
        api.put("pods", pod())
        api.refused["pods/watch"] = (403, "no")
        async with discovering(entry(api)) as found:
            await found.until(lambda: found.failures)
            (watcher,) = found.discoverer._views[0].watchers
            assert watcher.error.startswith("not allowed to watch pods in all namespaces (403)")
            await found.until(lambda: found.groups)


async def test_namespaces_are_watched_each_by_itself(clock: MockClock) -> None:
    """With names, nothing is asked for beyond them; what one refuses does not hold the others up."""
    names = Namespaces(names=("a", "b", "a"))
    async with serving() as api:
        for namespace in ("a", "b", "c"):
            api.put("pods", pod("web", namespace, ip=f"10.0.0.{ord(namespace)}"))
        async with discovering(entry(api, namespaces=names)) as found:
            await api.until_watched(2)
            assert sorted(found.groups) == ["pod/a/web", "pod/b/web"]
            assert api.watched == [("pods", "a"), ("pods", "b")]
            assert {path for path, _, _ in api.requests} == {"/api/v1/namespaces/a/pods", "/api/v1/namespaces/b/pods"}


async def test_selectors_are_the_servers_business(clock: MockClock) -> None:
    """They go with lists and watches; an object that does not fit any more is deleted."""
    selectors = (Selector(role=Role.POD, label="app=web", field="spec.nodeName=n1"),)
    async with serving() as api:
        api.put("pods", pod(labels={"app": "web"}))
        api.put("pods", pod("web-2", labels={"app": "web"}, node="n2"))
        api.put("pods", pod("db-1", labels={"app": "db"}))
        async with discovering(entry(api, selectors=selectors)) as found:
            await api.until_watched()
            assert list(found.groups) == ["pod/default/web-1"]
    for verb in ("list", "watch"):
        (query,) = api.asked("pods", verb)
        assert (query["labelSelector"], query["fieldSelector"]) == ("app=web", "spec.nodeName=n1")


async def test_what_fields_select_is_asked_of_the_servers_memory(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that gives pages nevertheless, the next ones name no version, as the protocol wants it."""
    monkeypatch.setattr(client, "PAGE_OBJECTS", 1)
    selectors = (Selector(role=Role.POD, field="spec.nodeName=n1"),)
    async with serving() as api:
        for n in range(2):
            api.put("pods", pod(f"p{n}", ip=f"10.1.0.{n}"))
        async with discovering(entry(api, selectors=selectors)) as found:
            assert len(found.groups) == 2
    common = {"fieldSelector": "spec.nodeName=n1", "limit": "1"}
    assert api.asked("pods", "list") == [common | {"resourceVersion": "0"}, common | {"continue": "1"}]


@pytest.mark.parametrize("role", [Role.ENDPOINTS, Role.ENDPOINTSLICE])
async def test_what_stands_behind_a_service_follows_its_pods_and_its_service(clock: MockClock, role: Role) -> None:
    """A pod that gets ready, a service that is labelled, and both when they go, change the group."""
    ref = reference("Pod", "web-1")
    resource, raw = {
        Role.ENDPOINTS: (
            "endpoints",
            endpoints("web", "default", subset([HTTP], [{"ip": "10.1.0.7", "targetRef": ref}])),
        ),
        Role.ENDPOINTSLICE: (
            "endpointslices",
            endpoint_slice(endpoints=[{"addresses": ["10.1.0.7"], "targetRef": ref}]),
        ),
    }[role]
    source = SOURCES[role]
    async with serving() as api:
        api.put(resource, raw)
        async with discovering(entry(api, role)) as found:
            await api.until_watched(3)

            def label(name: str) -> str | None:
                group = found.groups[source]
                return ({**group.labels, **group.targets[0]}).get(P + name)

            assert (label("pod_ready"), label("service_name")) == (None, None)
            api.put("pods", pod(ready="False"))
            await found.until(lambda: label("pod_ready") == "false")
            api.put("pods", pod())
            await found.until(lambda: label("pod_ready") == "true")
            api.put("pods", pod("stranger"))
            api.put("services", service("stranger"))
            api.put("services", service(labels={"tier": "front"}))
            await found.until(lambda: label("service_label_tier") == "front")
            api.delete("pods", "default/web-1")
            api.delete("services", "default/web")
            await found.until(lambda: (label("pod_ready"), label("service_name")) == (None, None))
            events = found.statistics.events_total
            assert (events["pod", "add"], events["pod", "update"], events["service", "add"]) == (0, 1, 2)
    assert all(call == [source] for call in found.calls)


async def test_endpoints_with_too_many_addresses_are_told_once(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server marks them; the warning names the role that has no such bound."""
    told: list[str] = []

    class Log:
        def warning(self, event: str, **fields: str) -> None:
            told.append(f"{event}: {fields['endpoints']}: {fields['reason']}")

    monkeypatch.setattr(views, "log", Log())
    marked = {"endpoints.kubernetes.io/over-capacity": "truncated"}
    async with serving() as api:
        api.put("endpoints", endpoints("web", "default", subset([HTTP], [{"ip": "10.1.0.7"}]), labels=marked))
        async with discovering(entry(api, Role.ENDPOINTS)) as found:
            await api.until_watched(3)
            api.put("endpoints", endpoints("web", "default", subset([HTTP], [{"ip": "10.1.0.8"}]), labels=marked))
            await found.until(lambda: found.addresses == ["10.1.0.8:8080"])
    reason = "it has more than 1000 addresses and tells only of the first ones"
    assert told == [f"use the role endpointslice: default/web: {reason}"]


async def test_metadata_of_nodes_namespaces_and_workloads_follow(clock: MockClock) -> None:
    """Each is watched when it is asked for; of namespaces, replica sets and jobs the metadata alone."""
    attach = AttachMetadata(node=True, namespace=True, deployment=True, job=True, cronjob=True)
    async with serving() as api:
        api.put("pods", pod(ownerReferences=owner("ReplicaSet", "web-5c8")))
        api.put("replicasets", thing("web-5c8", "default", ownerReferences=owner("Deployment", "web")))
        async with discovering(entry(api, attach_metadata=attach)) as found:
            await api.until_watched(5)
            labels = lambda: found.groups["pod/default/web-1"].labels  # noqa: E731
            assert labels()[P + "pod_deployment_name"] == "web"
            assert P + "node_name" not in labels()
            api.put("nodes", node(labels={"zone": "a"}))
            await found.until(lambda: labels().get(P + "node_label_zone") == "a")
            api.put("namespaces", thing("default", labels={"team": "x"}))
            await found.until(lambda: labels().get(P + "namespace_label_team") == "x")
            api.delete("nodes", "n1")
            await found.until(lambda: P + "node_name" not in labels())
            api.delete("replicasets", "default/web-5c8")
            await found.until(lambda: P + "pod_deployment_name" not in labels())
    asked = {path.rpartition("/")[2]: head["accept"] for path, _, head in api.requests}
    assert {resource for resource, accept in asked.items() if "PartialObjectMetadata" in accept} == {
        "namespaces",
        "replicasets",
        "jobs",
    }


async def test_entries_that_look_at_the_same_share_one_watch(clock: MockClock) -> None:
    """Two jobs watch pods once; when the first ends, the second goes on without a list."""
    async with serving() as api:
        api.put("pods", pod())
        async with discovering(entry(api, Role.ENDPOINTS)) as other:
            async with discovering(entry(api)) as first:
                await api.until_watched(3)
                assert api.watched == [("endpoints", ""), ("pods", ""), ("services", "")]
                assert list(first.groups) == ["pod/default/web-1"]
            async with discovering(entry(api)) as second:
                assert list(second.groups) == ["pod/default/web-1"]
            api.put("endpoints", endpoints("web", "default", subset([HTTP], [{"ip": "1.1.1.1"}])))
            await other.until(lambda: other.groups)
    assert len(api.asked("pods", "list")) == 1


async def test_a_watch_passes_to_the_next_when_its_first_user_ends(clock: MockClock) -> None:
    """The one who worked ends; the other has the objects, and follows from there."""
    async with serving() as api, trio.open_nursery() as nursery:
        api.put("pods", pod())
        ended = trio.Event()

        async def first() -> None:
            async with discovering(entry(api)):
                await ended.wait()

        nursery.start_soon(first)
        await api.until_watched()
        async with discovering(entry(api)) as second:
            ended.set()
            await trio.sleep(2)
            api.put("pods", pod("web-2", ip="10.1.0.8"))
            await second.until(lambda: len(second.groups) == 2)
            assert second.statistics.http_requests_total["200"] >= 1
    assert len(api.asked("pods", "list")) == 1


async def test_other_credentials_are_another_watch(clock: MockClock) -> None:
    """Only entries that ask alike share."""
    http = HttpClientConfig(authorization=Authorization(type="Other"))
    async with serving() as api, discovering(entry(api)), discovering(entry(api, http=http)):
        await api.until_watched(2)
        assert api.watched == [("pods", "")] * 2


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"{]\n", "cannot read an event of pods"),
        (b"[]\n", "cannot read an event of pods"),
        (b'{"type": "ADDED", "object": {"metadata": {}}}\n', "cannot read an event of pods"),
        (b'{"type": "NEW", "object": {"metadata": {"resourceVersion": "1"}}}\n', "no kind that is known: 'NEW'"),
        (b'{"type": "ERROR", "object": {"code": 500, "message": "boom"}}\n', "watching pods in all namespaces: boom"),
        (b"x" * 2000, "an event of pods in all namespaces is longer than 1000 bytes"),
    ],
)
async def test_events_that_make_no_sense_end_the_watch(
    clock: MockClock, line: bytes, text: str, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    """It is a failure like another: counted, told, and tried again."""
    monkeypatch.setattr(client, "LINE_BYTES_MAX", 1000)
    async with serving() as api:
        api.put("pods", pod())
        async with discovering(entry(api)) as found:
            await api.until_watched()
            api.send_raw(line)
            await found.until(lambda: found.failures == 1)
            api.put("pods", pod("web-2", ip="10.1.0.8"))
            await found.until(lambda: len(found.groups) == 2)
    assert text in logged[0]


async def test_long_events_are_decoded_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes of them is the same.  Without the clock, which does not see threads."""
    monkeypatch.setattr(client, "BYTES_IN_LOOP_MAX", 100)
    async with serving() as api, discovering(entry(api)) as found:
        await api.until_watched()
        api.put("pods", pod())
        await found.until(lambda: found.groups)


async def test_a_watch_that_ends_at_once_again_and_again(clock: MockClock) -> None:
    """The server accepts and hangs up; the pauses grow."""
    async with serving() as api, discovering(entry(api)) as found:
        for _ in range(3):
            await api.until_watched()
            api.end_watches()
            before = found.failures
            await found.until(lambda: found.failures > before)  # noqa: B023 - waited for here
        assert trio.current_time() >= 1.5  # half of 1 s and of 2 s, and more by chance


async def test_a_server_that_says_nothing(clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a list nor a watch is waited for without end."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    api = FakeKubernetes(port=listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:

        async def silent(stream: trio.SocketStream) -> None:
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, silent, [listener])
        async with discovering(entry(api)) as found:
            (watcher,) = found.discoverer._views[0].watchers
            assert watcher.error == "no list of pods in all namespaces within 30 s"
            watcher._version = "5"
            await found.until(lambda: "no answer to watch pods" in watcher.error)
        nursery.cancel_scope.cancel()
    assert watching.ANSWER_SECONDS_MAX == 30
