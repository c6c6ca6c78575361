"""How long discovery in a large Kubernetes cluster takes, what it holds in memory, and how long it keeps others waiting.

    python benchmarks/kubernetes_discovery.py --pods 20000 --role pod

A fake API server in a process of its own lists the pods, each about as large as a real one (with `managedFields`), in
pages, and tells of changes over a watch.  Measured are the time until the groups are published, the memory that is held
then, the longest wait of another task meanwhile, and the same for a rollout that changes a tenth of the pods.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, process_time

import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kubernetes_api import FakeKubernetes, serving
from kubernetes_objects import Raw, container, endpoint_slice, owner, pod, port, reference, service

from tinyobs.abc import DiscovererContext, TargetGroup
from tinyobs.builtin.kubernetes_sd.discoverer import KubernetesDiscoverer
from tinyobs.config.fields import Url
from tinyobs.config.kubernetes_sd import KubernetesSdConfig, Role
from tinyobs.testing.services import VirtualClock

PODS_PER_SERVICE = 50


def large_pod(n: int, generation: int = 0) -> Raw:
    """Return a pod of a deployment with much that does not matter to discovery."""
    app = f"app-{n // PODS_PER_SERVICE}"
    ip = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
    labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop", "pod-template-hash": f"{n % 50:x}"}
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "generation": str(generation)}
    raw = pod(
        f"{app}-5c8b{n % 50:04x}-{n:05x}",
        f"team-{n % 40}",
        ip,
        node=f"node-{n % 400}",
        labels=labels,
        annotations=annotations,
        ownerReferences=owner("ReplicaSet", f"{app}-5c8b{n % 50:04x}"),
        containers=[
            container("app", port("http", 8080), port("metrics", 9090)),
            container("proxy", port("admin", 9901)),
        ],
    )
    fields = {f"f:{key}": {"f:value": {}, "f:name": {}} for key in (f"field-{i}" for i in range(60))}
    raw["metadata"]["managedFields"] = [{"manager": m, "fieldsV1": fields} for m in ("kube-controller", "kubelet")]
    raw["spec"]["volumes"] = [
        {"name": f"v{i}", "configMap": {"name": f"{app}-{i}", "defaultMode": 420}} for i in range(8)
    ]
    for one in raw["spec"]["containers"]:
        one["env"] = [{"name": f"SETTING_{i}", "value": "x" * 20} for i in range(20)]
    return raw


def serve(pods: int, role: str, pipe: Connection) -> None:
    """Serve the pods, and on a message change a tenth of them."""

    async def main() -> None:
        api = FakeKubernetes()
        for n in range(pods):
            api.put("pods", large_pod(n))
        if role == Role.ENDPOINTSLICE:
            for first in range(0, pods, PODS_PER_SERVICE):
                add_service(api, [large_pod(n) for n in range(first, min(first + PODS_PER_SERVICE, pods))])
        api.forget()
        async with serving(api):
            pipe.send((api.port, len(json.dumps(large_pod(0)))))
            while await trio.to_thread.run_sync(pipe.recv, abandon_on_cancel=True) == "change":
                for n in range(0, pods, 10):
                    api.put("pods", large_pod(n, generation=1))
            pipe.send("end")

    trio.run(main)


def add_service(api: FakeKubernetes, pods: Sequence[Raw]) -> None:
    """Add a service of some pods and its slice, in the namespace of the first."""
    meta = pods[0]["metadata"]
    name = meta["labels"]["app.kubernetes.io/name"]
    told = [
        {
            "addresses": [p["status"]["podIP"]],
            "targetRef": reference("Pod", p["metadata"]["name"], p["metadata"]["namespace"]),
        }
        for p in pods
    ]
    api.put("services", service(name, meta["namespace"]))
    api.put("endpointslices", endpoint_slice(f"{name}-abc", meta["namespace"], service=name, endpoints=told))


def resident_mib() -> float:
    """Return the resident memory of this process in MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


class Waits:
    """How long a task that wants to run each millisecond was kept waiting: in all, and by this process' own work."""

    def __init__(self) -> None:
        self.longest = self.longest_own = 0.0

    async def run(self) -> None:
        while True:
            began, cpu = perf_counter(), process_time()
            await trio.sleep(0.001)
            self.longest = max(self.longest, perf_counter() - began - 0.001)
            self.longest_own = max(self.longest_own, process_time() - cpu)

    def take(self) -> str:
        """Return the longest, and begin anew."""
        shown = f"{self.longest * 1000:.0f} ms, by own work {self.longest_own * 1000:.0f} ms"
        self.longest = self.longest_own = 0.0
        return shown


async def measure(role: Role, port_number: int, change: Callable[[], None]) -> None:
    """Discover, have the pods changed, and print the figures."""
    groups: dict[str, TargetGroup] = {}
    counts = {"published": 0}

    async def publish(changed: Sequence[TargetGroup]) -> None:
        counts["published"] += len(changed)
        groups.update({g.source: g for g in changed})

    config = KubernetesSdConfig(api_server=Url(f"http://127.0.0.1:{port_number}"), role=role)
    discoverer = KubernetesDiscoverer(config, DiscovererContext("bench", 0, ".", VirtualClock()))
    waits, before = Waits(), resident_mib()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits.run)
        began, cpu = perf_counter(), process_time()
        await nursery.start(discoverer.run, publish)
        seconds, cpu, wait = perf_counter() - began, process_time() - cpu, waits.take()
        targets = sum(len(g.targets) for g in groups.values())
        print(f"list:    {len(groups)} groups, {targets} targets in {seconds:.2f} s ({cpu:.2f} s of CPU)")
        print(f"         longest wait of another task {wait}; memory +{resident_mib() - before:.0f} MiB")
        counts["published"] = 0
        waits.take()
        began, cpu = perf_counter(), process_time()
        change()
        last = -1
        while last != counts["published"] or not last:
            last = counts["published"]
            await trio.sleep(2)
        print(f"rollout: {last} groups published again, {process_time() - cpu:.2f} s of CPU")
        print(f"         longest wait of another task {waits.take()}; memory +{resident_mib() - before:.0f} MiB")
        nursery.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, default=20_000)
    parser.add_argument("--role", type=Role, choices=[Role.POD, Role.ENDPOINTSLICE], default=Role.POD)
    given = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(given.pods, given.role, there), daemon=True
    )
    server.start()
    port_number, size = here.recv()
    print(f"{given.pods} pods of {size} bytes, role {given.role}")
    trio.run(measure, given.role, port_number, lambda: here.send("change"))
    here.send("end")
    server.join()


if __name__ == "__main__":
    main()
