"""Whole configuration files: defaults, inheritance, files that name other files, reloads."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import yaml
from attrs import frozen

from tinyobs.abc import ConfigSection, DiscovererKind
from tinyobs.config.loader import load, parse
from tinyobs.config.schema import Config
from tinyobs.config.scraping import DEFAULT_SCRAPE_PROTOCOLS, EscapingScheme, ScrapeProtocol, ValidationScheme
from tinyobs.errors import ConfigError, PluginError, QueryParseError
from tinyobs.model.secrets import Secret
from tinyobs.relabel import Action

FULL = """
global:
  scrape_interval: 20s
  external_labels: {site: paris, node: "$HOSTNAME-${ZONE}"}
  sample_limit: 1000
  keep_dropped_targets: 5
runtime: {gogc: 75}
scrape_configs:
  - job_name: plain
  - job_name: probe
    scrape_interval: 5s
    scrape_protocols: [PrometheusText0.0.4]
    sample_limit: 7
    params: {module: [http_2xx]}
    scheme: https
    bearer_token: t0ken
    tls_config: {ca_file: ca.pem}
    static_configs:
      - targets: [a:1, "b:2"]
        labels: {port: 5, version: 1.10, answer: no}
    relabel_configs:
      - {source_labels: [__address__], action: Keep, regex: "a.*"}
  - job_name: old
    metric_name_validation_scheme: legacy
storage:
  tsdb:
    out_of_order_time_window: 30m
    retention: {time: 7d, size: 1GB}
tinyobs:
  storage: {sync: never}
"""
ENVIRONMENT = {"HOSTNAME": "n1"}


def full() -> Config:
    """Return the example."""
    return parse(FULL, "/etc/t/tinyobs.yml", environment=ENVIRONMENT)


def problems_of(text: str, **more: object) -> list[str]:
    """Return the messages of a text with faults."""
    with pytest.raises(ConfigError) as e:
        parse(text, "f.yml", **more)  # type: ignore[arg-type]
    return [p.message for p in e.value.problems]


@pytest.mark.parametrize("text", ["", "\n", "{}", "global:\n", "scrape_configs: []\nruntime: ~\n"])
def test_an_empty_file_means_the_defaults(text: str) -> None:
    """Sections without content are as if they were not there."""
    config = parse(text, "f.yml")
    assert config == parse("", "f.yml")
    assert config.global_config.scrape_interval_ms == 60_000
    assert config.global_config.scrape_timeout_ms == 10_000
    assert config.tinyobs.storage.out_of_order_window_ms == config.out_of_order_window_ms == 3_600_000
    assert config.scrape_configs == ()
    assert config.not_yet_effective() == []


def test_scrape_configs_inherit() -> None:
    """What a scrape config does not set comes from the global section, then from upstream's defaults."""
    plain, probe, old = full().scrape_configs
    assert (plain.scrape_interval_ms, plain.scrape_timeout_ms, plain.sample_limit) == (20_000, 10_000, 1000)
    assert (probe.scrape_interval_ms, probe.scrape_timeout_ms, probe.sample_limit) == (5_000, 5_000, 7)
    assert plain.scrape_protocols == DEFAULT_SCRAPE_PROTOCOLS
    assert probe.scrape_protocols == (ScrapeProtocol.PROMETHEUS_TEXT_0_0_4,)
    assert plain.keep_dropped_targets == 5
    assert plain.extra_scrape_metrics is False
    assert plain.metric_name_escaping_scheme is EscapingScheme.ALLOW_UTF8
    assert old.metric_name_validation_scheme is ValidationScheme.LEGACY
    assert old.metric_name_escaping_scheme is EscapingScheme.UNDERSCORES


def test_histograms_are_inherited() -> None:
    """What is said of histograms comes from the global section, and native ones ask for protobuf first."""
    text = """
global: {scrape_native_histograms: true, convert_classic_histograms_to_nhcb: true}
scrape_configs:
- job_name: a
- {job_name: b, scrape_native_histograms: false, always_scrape_classic_histograms: true}
- {job_name: c, scrape_protocols: [PrometheusText0.0.4]}
"""
    a, b, c = parse(text, "f.yml").scrape_configs
    assert (a.scrape_native_histograms, a.always_scrape_classic_histograms) == (True, False)
    assert a.convert_classic_histograms_to_nhcb is b.convert_classic_histograms_to_nhcb is True
    assert (b.scrape_native_histograms, b.always_scrape_classic_histograms) == (False, True)
    assert a.scrape_protocols == (ScrapeProtocol.PROMETHEUS_PROTO, *DEFAULT_SCRAPE_PROTOCOLS)
    assert b.scrape_protocols == DEFAULT_SCRAPE_PROTOCOLS
    assert c.scrape_protocols == (ScrapeProtocol.PROMETHEUS_TEXT_0_0_4,)


def test_values_of_a_scrape_config() -> None:
    """Paths start at the file's folder, an older token becomes an authorization, labels keep their text."""
    probe = full().scrape_configs[1]
    assert probe.http.authorization is not None
    assert probe.http.authorization.credentials == Secret("t0ken")
    assert probe.http.tls_config.ca_file == "/etc/t/ca.pem"
    assert probe.params == (("module", ("http_2xx",)),)
    assert probe.relabel_configs[0].action is Action.KEEP
    ((key, (static,)),) = probe.discovery
    assert key == "static_configs"
    assert static.targets == ("a:1", "b:2")
    assert static.labels == (("answer", "no"), ("port", "5"), ("version", "1.10"))


def test_external_labels_take_the_environment() -> None:
    """A variable that is not set leaves nothing and a warning."""
    config = full()
    assert config.global_config.external_labels == (("node", "n1-"), ("site", "paris"))
    (warning,) = config.warnings
    assert str(warning) == (
        "/etc/t/tinyobs.yml:4:40: the environment variable 'ZONE' is empty (at .global.external_labels.node)"
    )


def test_the_storage_section() -> None:
    """Upstream's window goes before TinyObs's own."""
    config = full()
    assert config.out_of_order_window_ms == 1_800_000
    assert config.storage.tsdb.retention.time_ms == 7 * 86_400_000
    assert config.storage.tsdb.retention.size_bytes == 1 << 30
    assert config.tinyobs.storage.sync == "never"


def test_the_shown_text_reads_back_to_the_same() -> None:
    """Showing loses nothing but secrets."""
    config = full()
    shown = config.to_yaml()
    assert "t0ken" not in shown
    again = parse(shown, "/etc/t/tinyobs.yml")
    hidden = attrs.evolve(config.scrape_configs[1].http, authorization=again.scrape_configs[1].http.authorization)
    assert again.scrape_configs[1] == attrs.evolve(config.scrape_configs[1], http=hidden)
    assert again.scrape_configs[0] == config.scrape_configs[0]
    assert (again.global_config, again.storage, again.tinyobs) == (config.global_config, config.storage, config.tinyobs)
    assert again.to_yaml() == shown


def test_the_own_section_is_shown_where_it_is_given() -> None:
    """A file of Prometheus is shown as Prometheus shows it."""
    assert "tinyobs" not in yaml.safe_load(parse("global: {scrape_interval: 5s}").to_yaml())
    assert yaml.safe_load(full().to_yaml())["tinyobs"]["storage"]["sync"] == "never"


def test_equal_files_make_equal_configurations() -> None:
    """A reload can tell by comparison which scrape configs changed."""
    assert full() == full()
    other = parse(FULL.replace("a:1", "a:3"), "/etc/t/tinyobs.yml", environment=ENVIRONMENT)
    same = [a == b for a, b in zip(full().scrape_configs, other.scrape_configs, strict=True)]
    assert same == [True, False, True]


def test_environment_expansion_is_asked_for() -> None:
    """`${NAME}` is replaced only in a file that says so; `$1` never."""
    body = "scrape_configs: [{job_name: '${HOSTNAME}', relabel_configs: [{target_label: a, replacement: '$1 ${1}'}]}]\n"
    assert parse(body, environment=ENVIRONMENT).scrape_configs[0].job_name == "${HOSTNAME}"
    expanded = parse(body + "tinyobs: {expand_env: true}\n", environment=ENVIRONMENT).scrape_configs[0]
    assert expanded.job_name == "n1"
    assert expanded.relabel_configs[0].replacement == "$1 ${1}"
    assert problems_of(body + "tinyobs: {expand_env: true}\n", environment={}) == [
        "the environment variable 'HOSTNAME' is not set"
    ]


def test_job_names_are_compared_after_expansion() -> None:
    """Two variables with the same value are the same name."""
    text = "tinyobs: {expand_env: true}\nscrape_configs: [{job_name: '${A}'}, {job_name: '${B}'}]"
    assert problems_of(text, environment={"A": "x", "B": "x"}) == ['found multiple scrape configs with job name "x"']
    assert len(parse(text, environment={"A": "x", "B": "y"}).scrape_configs) == 2


# -- plugins -----------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ProbeSettings:
    """The section of a plugin."""

    interval: int = 15


@frozen(kw_only=True)
class DnsEntry:
    """An entry of a plugin's kind of discovery."""

    names: tuple[str, ...] = ()


def test_sections_of_plugins() -> None:
    """A registered section is read by its schema, and has its defaults where it is not given."""
    sections = [ConfigSection("probe", ProbeSettings), ConfigSection("other", ProbeSettings)]
    config = parse("tinyobs: {probe: {interval: 5}}", sections=sections)
    assert config.tinyobs.section("probe") == ProbeSettings(interval=5)
    assert config.tinyobs.section("other") == ProbeSettings()
    assert "probe:\n    interval: 5" in config.to_yaml()
    with pytest.raises(KeyError):
        config.tinyobs.section("none")


def test_an_unknown_section_may_lack_its_plugin() -> None:
    """The message says so."""
    assert problems_of("tinyobs: {prob: {}}", sections=[ConfigSection("probe", ProbeSettings)]) == [
        "unknown key 'prob', did you mean 'probe'? (the plugin that owns a section of this name may be missing)"
    ]


@pytest.mark.parametrize("names", [["storage"], ["probe", "probe"]])
def test_a_section_belongs_to_one_plugin(names: list[str]) -> None:
    """A name that is taken is an error of the plugin, not of the file."""
    with pytest.raises(PluginError, match="registered twice"):
        parse("", sections=[ConfigSection(name, ProbeSettings) for name in names])


def test_kinds_of_discovery_of_plugins() -> None:
    """A plugin's kind is read by its schema; a built-in kind that is switched off is refused, not ignored."""
    kind = DiscovererKind("ports_sd_configs", DnsEntry, lambda config, context: None)  # type: ignore[arg-type, return-value]
    text = "scrape_configs: [{job_name: a, ports_sd_configs: [{names: [x]}]}]"
    for discoverers in ([kind], {kind.key: kind}):
        config = parse(text, discoverers=discoverers)
        assert config.scrape_configs[0].discovery == (("ports_sd_configs", (DnsEntry(names=("x",)),)),)
    assert problems_of(text.replace("ports", "eureka")) == ["eureka_sd_configs is not supported yet by this version"]
    static = "scrape_configs: [{job_name: a, static_configs: [{targets: [x]}]}]"
    assert problems_of(static, discoverers=[kind]) == ["static_configs needs a plugin that is switched off"]


# -- files -------------------------------------------------------------------------------------------------------


def write(folder: Path, **files: str) -> Path:
    """Write files into a folder, `__` in a name standing for a slash; return the main one."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".yml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder / "main.yml"


def test_scrape_config_files(tmp_path: Path) -> None:
    """Scrape configs of other files inherit too; their paths start at their own folder."""
    main = write(
        tmp_path,
        main="global: {scrape_interval: 7s}\nscrape_config_files: [more/*.yml]\nscrape_configs: [{job_name: a}]\n",
        more__x="scrape_configs: [{job_name: b, tls_config: {ca_file: ca}}]",
        more__y="",
    )
    config = load(main)
    assert [c.job_name for c in config.scrape_configs] == ["a"]
    assert [c.job_name for c in config.all_scrape_configs] == ["a", "b"]
    (included,) = config.included_scrape_configs
    assert included.scrape_interval_ms == 7_000
    assert included.http.tls_config.ca_file == str(tmp_path / "more" / "ca")
    assert "job_name: b" not in config.to_yaml()


def test_faults_in_all_files_are_found_together(tmp_path: Path) -> None:
    """One run names the faults of the main file, of included files and of rule files."""
    main = write(
        tmp_path,
        main="rule_files: [rules/*.yml]\nscrape_config_files: [more/*.yml]\nscrape_configs: [{job_name: a, x: 1}]\n",
        more__x="scrape_configs: [{job_name: a}]",
        rules__r="groups: [{name: g, rules: [{record: a, expr: '1 +'}]}]",
    )

    def check(text: str) -> None:
        raise QueryParseError("unexpected end of input", 3, 3, text)

    with pytest.raises(ConfigError) as e:
        load(main, check_expression=lambda text, _: check(text))
    assert [str(p).replace(str(tmp_path), "") for p in e.value.problems] == [
        "/main.yml:3:32: unknown key 'x' (at .scrape_configs[0])",
        '/more/x.yml:1:29: found multiple scrape configs with job name "a", first found in main config file'
        " (at .scrape_configs[0].job_name)",
        '/rules/r.yml:1:46: group "g", rule 1, "a": could not parse expression: 1:4: parse error: unexpected end of'
        " input (at .groups[0].rules[0].expr)",
    ]


def test_rule_files_are_part_of_the_configuration(tmp_path: Path) -> None:
    """A change in a rule file makes another configuration."""
    main = write(tmp_path, main="rule_files: [r.yml]", r="groups: [{name: g, rules: [{record: a, expr: b}]}]")
    before = load(main)
    assert before.rules[0].groups[0].rules[0].expr == "b"
    write(tmp_path, r="groups: [{name: g, rules: [{record: a, expr: c}]}]")
    assert load(main) != before


def test_a_missing_rule_file_is_a_warning(tmp_path: Path) -> None:
    """As upstream, a name that matches nothing does not stop the start; but it is said."""
    config = load(write(tmp_path, main="rule_files: [nope.yml, none/*.yml]"))
    assert [w.message for w in config.warnings] == [f"no file matches '{tmp_path}/nope.yml'"]


@pytest.mark.parametrize("name", ["nope.yml", "."])
def test_an_unreadable_file(tmp_path: Path, name: str) -> None:
    """A file that is missing or no file is a clear problem."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / name)


def test_what_has_no_effect_is_named_with_its_place() -> None:
    """Sections that this version only validates do not pass silently."""
    config = parse(
        "remote_write: [{url: 'http://h/'}]\nalerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}\n"
        "rule_files: [a.yml]\nruntime: {gogc: 50}\nstorage: {exemplars: {max_exemplars: 5}}\n"
        "remote_read: [{url: 'http://h/'}]\n"
        "tracing: {endpoint: e}\nglobal: {rule_query_offset: 1m}\n",
        "f.yml",
    )
    found = [str(p).partition(" is parsed")[0].partition(" has no")[0] for p in config.not_yet_effective()]
    assert sorted(found) == [
        "f.yml:2:11: alerting",
        "f.yml:3:13: rule_files",
        "f.yml:4:17: runtime.gogc",
        "f.yml:6:14: remote_read",
        "f.yml:7:10: tracing",
        "f.yml:8:29: global.rule_query_offset",
    ]
