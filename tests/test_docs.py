"""The documentation is complete and true where a test can tell: pages, links, commands, flags, settings, metrics."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from tinyobs.cli.flags import LATER, MEANINGLESS
from tinyobs.cli.main import tinyobs
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "examples").rglob("*.md"))]
COMMAND = re.compile(r"^(?:\S*/)?(tinyobs .*?)(?:  #.*)?$", re.MULTILINE)


def entries(page: Path) -> set[Path]:
    """Return the pages that the toctrees of a page list."""
    found = set()
    for body in re.findall(r"^:::\{toctree\}\n(.*?)^:::", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in body.splitlines():
            if line and not line.startswith(":"):
                found |= set(page.parent.glob(line + ".md"))
    return found


def test_every_page_is_in_the_table_of_contents():
    """From the first page one reaches all others."""
    seen, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        waiting += entries(page) - seen
    assert seen == set(PAGES)


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    """A relative link names a file that is there."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_named_in_the_text_exist(page):
    """A path in back quotes that begins at the root of the repository is there."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for named in re.findall(
        r"`((?:tinyobs|docs|tests|examples|contrib|benchmarks|plugins)/[\w./-]*\w\.(?:py|md|yml|service))`", text
    ):
        assert (ROOT / named).exists(), named


def resolve(words: list[str]) -> click.Command:
    """Return the command that a command line runs; fails for one that does not exist."""
    command: click.Command = tinyobs
    for word in words:
        if not isinstance(command, click.Group):
            break
        assert word in command.commands, word
        command = command.commands[word]
    return command


def commands() -> list[tuple[str, str]]:
    """Return (page, command line) of every `tinyobs` command in a block of shell."""
    found = []
    for page in TEXTS:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for line in re.split(r"\n|&& ", block):
                if m := COMMAND.match(line.strip()):
                    found.append((page.relative_to(ROOT).as_posix(), m.group(1)))
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_in_the_text_exist(page, line):
    """Each command and each of its options is one that the program has."""
    words = shlex.split(line)[1:]
    command = resolve([w for w in words if not w.startswith("-")])
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    assert {w.partition("=")[0] for w in words if w.startswith("-")} <= known


def test_flags_in_the_text_exist():
    """What looks like a flag of `tinyobs run` is one."""
    known = {name for p in tinyobs.commands["run"].params for name in (*p.opts, *p.secondary_opts)}
    for page in (DOCS / "operations.md", ROOT / "README.md", DOCS / "hooks.md", DOCS / "components.md"):
        for flag in re.findall(r"`(--[a-z][\w.-]+)", page.read_text()):
            assert flag in known, flag


def rows(heading: str) -> dict[str, tuple[str, ...]]:
    """Return first column -> other columns of the table below a heading of the page on the command line."""
    section = (DOCS / "command-line.md").read_text().partition(heading)[2].partition("\n## ")[0]
    return {
        cells[0].strip("`"): tuple(cells[1:])
        for cells in (
            [c.strip() for c in line.strip("|").split("|")] for line in re.findall(r"^\| `.*$", section, re.M)
        )
    }


def test_the_flags_of_run_are_listed_as_they_are():
    """Name, default and help text of each."""
    expected = {}
    for p in tinyobs.commands["run"].params:
        text, _, shown = (p.help or "").partition("  [default: ")
        default = shown.rstrip("]")
        if not shown:
            plain = p.default[0] if isinstance(p.default, tuple) else p.default
            if isinstance(plain, bool):
                default = "on" if plain else "off"
            elif isinstance(plain, str | int) and plain != "":
                default = f"`{plain}`"
        expected[p.opts[0]] = (default, text)
    assert rows("## Flags of tinyobs run") == expected


def test_the_flags_that_are_refused_are_listed():
    """With the reason that the command gives."""
    expected = {name: (f"{what}: not in this version",) for name, what in LATER.items()}
    expected |= {name: (why,) for name, why in MEANINGLESS.items()}
    assert rows("## Flags that are refused") == expected


@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
async def test_the_library_examples_run(page, tmp_path, monkeypatch, capsys):
    """The first block of Python works on a directory that a daemon has left."""
    settings = AgentSettings(storage_url=f"file:{tmp_path / 'data'}", listen=(), plugins_off=("host",))
    async with running_agent(settings) as running:
        for mode in ("idle", "user"):
            await running.store("node_cpu_seconds_total", 1.0, mode=mode, job="node", instance="x")
        await running.store("up", 1.0, job="node", instance="x")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text()
    block = next(b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "open(" in b)
    names: dict[str, object] = {}
    exec(compile(block, page, "exec"), names)
    assert names["matrix"].ndim == 2


async def test_the_plugin_of_the_readme_works(tmp_path):
    """Its gauge is stored."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "queue.py"
    file.write_text(next(b for b in blocks if "hookimpl" in b))
    settings = AgentSettings(
        storage_url=f"file:{tmp_path / 'data'}",
        listen=("127.0.0.1:0",),
        plugins_off=("host",),
        plugin_files=(str(file),),
    )
    async with running_agent(settings) as running:

        async def stored():
            return list((await running.query('queue_length{queue="mail"}')).values()) == [42.0]

        await until(stored)


def test_the_commands_of_the_systemd_unit_exist(tmp_path):
    """Its commands and flags are ours; where systemd is there, it finds nothing wrong with the rest."""
    unit = (ROOT / "contrib" / "systemd" / "tinyobs.service").read_text()
    lines = re.findall(r"^ExecStart(?:Pre)?=/opt/tinyobs/bin/(tinyobs .*)$", unit, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)[1:]
        known = {name for p in resolve([w for w in words if not w.startswith("-")]).params for name in p.opts}
        assert {w.partition("=")[0] for w in words if w.startswith("-")} <= known
    if verify := shutil.which("systemd-analyze"):
        copy = tmp_path / "tinyobs.service"
        copy.write_text(unit.replace("/opt/tinyobs/bin/tinyobs", "/bin/true"))
        done = subprocess.run([verify, "verify", str(copy)], capture_output=True, text=True, timeout=100, check=False)
        assert [line for line in done.stderr.splitlines() if "tinyobs.service" in line] == []


def test_every_flag_has_a_help_text():
    """Help texts begin with a capital and end with a full stop, before what is said of the default."""
    for command in tinyobs.commands["run"], *tinyobs.commands["query"].commands.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                text = (parameter.help or "").partition("  [default")[0]
                assert re.fullmatch(r"[A-Z].*\.", text), (command.name, parameter.name, text)


def test_settings_name_the_flag_they_come_from():
    """A flag that a docstring of the settings names exists, so that the two do not drift apart."""
    known = {name for p in tinyobs.commands["run"].params for name in p.opts}
    source = (ROOT / "tinyobs" / "runtime" / "settings.py").read_text()
    named = set(re.findall(r"`(--[\w.-]+)`", source))
    assert named
    assert named <= known


async def test_metrics_to_watch_exist(tmp_path):
    """Every metric in the table of the operations page is one that the daemon shows, once it has something to show."""
    text = (DOCS / "operations.md").read_text().partition("## What to watch")[2]
    wanted = set(re.findall(r"\b(?:tinyobs|prometheus)_[a-z_]+[a-z]\b", re.sub(r"`tinyobs: .*?`", "", text)))
    settings = AgentSettings(storage_url=f"file:{tmp_path}", listen=("127.0.0.1:0",), plugins_off=("host",))
    async with running_agent(settings) as running:
        running.agent.host.notice_failures["x"] = 1
        running.agent.ingest._refused["limit"] = 1
        shown = set(re.findall(r"^# TYPE (\S+) ", (await running.get("/metrics"))[1].decode(), re.MULTILINE))
    assert wanted - shown == set()


def test_decisions_are_numbered_and_have_their_parts():
    """A record has its number in the name and the title, and at least problem, choice and price."""
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        text = page.read_text()
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        for part in ("**Problem", "**Choice", "**Price"):
            assert part in text, (page.name, part)
