"""The parser against a running Prometheus: the same text, the same errors.

Only what has not changed since Prometheus 2.42 is asked.
"""

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tinyobs.errors import QueryParseError
from tinyobs.promql.parser import parse
from tinyobs.promql.printer import pretty

pytestmark = pytest.mark.peer

QUERIES = [
    "a", "-a^2", "1+2*3", "a or b and c unless d", "a offset -5m", "a @ 10 offset 1h30m", "a[5m] @ end()", "a[1h:5m]",
    "a[90m:] @ start()", "sum(a) by (b,c)", "sum without() (a)", "topk(5,a)", "quantile by (x) (.9, a)", "1e3", "0x1f",
    "a == bool on(b) group_left(c) d", "a * ignoring(b) group_right d", "a{b='c',d!=\"e\",f=~`g.*`,h!~'i'}", "(a)", "+Inf",
    "label_replace(a,'b','$1','c','(.*)')", "histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))", "'a\\n\"'", "pi()",
    "count_values('v', a)", "absent_over_time(a[5m]) atan2 b", "sum(rate(a_rather_long_name_of_a_metric{label='value'}[5m]))"
    " by (b) / on (b) group_left () max by (b) (another_rather_long_name_of_a_metric{label='value'} offset 1d)",
    # broken
    "1+", "*1", "-=", "a b", "a{", "a{b=c}", "a{b}", "a{,}", "a{b='c' d}", "a}", "1 =~ 1", "1 !~ 1", "(1))", "((1)",
    "sum without(==)(a)", "sum without(a,,)(b)", "sum a by (b)", "sum (a) by b", "sum () by (b)", "topk(a)", "topk(a,)",
    "sum (1 + )", "f(1)", "floor()", "floor(1)", "hour(a, a)", "rate(a)", "label_join(a, 'b')", "a @", "1 offset 1d",
    "a offset 1s offset 2s", "rate(a[5m]) @ 1", "(a + b)[5m]", "a @ 1 [5m]", "a[5m:][5m:]", "1 == 1", "1 and 1", "a or 1",
    "a + bool b", "a == on(b) 1", "a and on(b) group_left(c) d", "a + on(b) group_left(b) d", "-'a'", "a[5m] + 1", "{}",
    "{x!='a'}", "a{__name__='b'}", "'abc", "`abc", '"\\c"', "a + group_left(b) c", "a - on(b) ignoring(c) d", "a @ +Inf",
    "a{b=~'*'}", "a +\n  b c", "sum(a, b)", "count_values(5, b)", "topk(a, b)", "sum(1)", "rate(a, *)",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[http.client.HTTPConnection]:
    """A Prometheus without data, on a port of its own."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs the program prometheus")
    folder: Path = tmp_path_factory.mktemp("prometheus")
    (folder / "empty.yml").write_text("global: {}\n")
    command = [program, f"--config.file={folder}/empty.yml", f"--storage.tsdb.path={folder}/data"]
    with subprocess.Popen(
        [*command, "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr is not None
            address, ready = "", False
            for line in process.stderr:
                if found := re.search(r'Listening on" address=(\S+)', line):
                    address = found[1]
                ready = ready or "ready to receive web requests" in line
                if address and ready:
                    break
            if not address:
                pytest.skip("this Prometheus does not say where it listens")
            connection = http.client.HTTPConnection(address)
            yield connection
            connection.close()
        finally:
            process.terminate()
            process.communicate()


def theirs(server: http.client.HTTPConnection, query: str) -> str:
    """Return what Prometheus makes of a query: pretty text or an error."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    server.request("POST", "/api/v1/format_query", urlencode({"query": query}), headers)
    answer = json.loads(server.getresponse().read())
    if answer["status"] == "success":
        return str(answer["data"])
    return str(answer["error"]).removeprefix('invalid parameter "query": ')


def ours(query: str) -> str:
    """Return what we make of it."""
    try:
        return pretty(parse(query))
    except QueryParseError as e:
        return str(e)


def test_prometheus_formats_and_complains_the_same(server: http.client.HTTPConnection) -> None:
    """Query by query, pretty text or error message with its place."""
    differences = [(q, theirs(server, q), ours(q)) for q in QUERIES if theirs(server, q) != ours(q)]
    assert differences == []
