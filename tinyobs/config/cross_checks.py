"""What can be said of a section only together with others: inheritance, unique names, the scheme of names.

Works on what the decoder made, with `BROKEN` where something was wrong, and notes problems in the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import attrs

from .decoder import BROKEN, Decoder
from .fields import Fault
from .inheritance import inherit, inherited_faults, rule_faults, with_names
from .scraping import GlobalConfig, ScrapeConfig, ValidationScheme
from .server_sections import TranslationStrategy
from .yaml_tree import ListNode, MappingNode, Node, Scalar

JobNames: TypeAlias = dict[str, str]
"""Job name -> where it was first found."""


def finish_scrape_configs(
    found: Any, root: Node, decoder: Decoder, defaults: GlobalConfig, jobs: JobNames, where: str
) -> Any:
    """Return scrape configs that have inherited; those with problems stay as they are.

    where: what the file is called in a message about a job name that stands in two.
    """
    _check_job_names(found, root, decoder, jobs, where)
    if found is BROKEN:
        return found
    out: list[Any] = []
    for i, scrape in enumerate(found):
        if isinstance(scrape, ScrapeConfig):
            scrape = inherit(scrape, defaults)
            _note(inherited_faults(scrape), f".scrape_configs[{i}]", decoder)
        out.append(scrape)
    return tuple(out)


def finish_sections(values: dict[str, Any], decoder: Decoder, defaults: GlobalConfig) -> None:
    """Check what depends on the global section or on neighbours, and give rules the scheme of names."""
    legacy = defaults.metric_name_validation_scheme is ValidationScheme.LEGACY
    for key, what in (("remote_write", "write"), ("remote_read", "read")):
        names: set[str] = set()
        for i, remote in enumerate(values[key] if values[key] is not BROKEN else ()):
            name = "" if remote is BROKEN else remote.name
            if name and name in names:
                decoder.report(f'found multiple remote {what} configs with job name "{name}"', f".{key}[{i}].name")
            names.add(name)
    if not legacy:
        return
    strategy = BROKEN if values["otlp"] is BROKEN else values["otlp"].translation_strategy
    if strategy in (TranslationStrategy.NONE, TranslationStrategy.UTF8_WITH_SUFFIXES):
        message = f'OTLP translation strategy "{strategy}" is not allowed when UTF8 is disabled'
        decoder.report(message, ".otlp.translation_strategy")
    if decoder.is_clean(".remote_write"):
        values["remote_write"] = tuple(
            _with_legacy_rules(r, f".remote_write[{i}]", decoder) for i, r in enumerate(values["remote_write"])
        )
    if decoder.is_clean(".alerting"):
        alerting = _with_legacy_rules(values["alerting"], ".alerting", decoder)
        managers = tuple(
            _with_legacy_rules(m, f".alerting.alertmanagers[{i}]", decoder)
            for i, m in enumerate(alerting.alertmanagers)
        )
        values["alerting"] = attrs.evolve(alerting, alertmanagers=managers)


def _check_job_names(found: Any, root: Node, decoder: Decoder, jobs: JobNames, where: str) -> None:
    """Note names that were there before; of a broken scrape config the tree tells the name."""
    listed = root.pairs.get("scrape_configs") if isinstance(root, MappingNode) else None
    for i, item in enumerate(listed.items if isinstance(listed, ListNode) else ()):
        name = item.pairs.get("job_name") if isinstance(item, MappingNode) else None
        if not isinstance(name, Scalar) or not name.text:
            continue
        scrape = BROKEN if found is BROKEN else found[i]
        text = scrape.job_name if isinstance(scrape, ScrapeConfig) else name.text
        first = jobs.setdefault(text, f"{where} {i}")
        if first != f"{where} {i}":
            found_in = first.rpartition(" ")[0]
            rest = "" if found_in == where else f", first found in {found_in}"
            message = f'found multiple scrape configs with job name "{text}"{rest}'
            decoder.report(message, f".scrape_configs[{i}].job_name", name)


def _note(faults: Iterable[Fault], path: str, decoder: Decoder) -> None:
    for fault in faults:
        decoder.report(str(fault), f"{path}.{fault.key}" if fault.key else path)


_RULE_FIELDS: Final = ("relabel_configs", "alert_relabel_configs", "write_relabel_configs")
_Evolve = Callable[..., Any]


def _with_legacy_rules(value: Any, path: str, decoder: Decoder) -> Any:
    """Return a section whose relabelling rules hold to legacy names, noting those that do not."""
    changed = {}
    for key in _RULE_FIELDS:
        rules = getattr(value, key, ())
        if rules:
            changed[key] = with_names(rules, legacy=True)
            _note(rule_faults(changed[key], key), path, decoder)
    evolve: _Evolve = attrs.evolve
    return evolve(value, **changed)
