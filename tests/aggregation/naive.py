"""One rule of stream aggregation as a loop over samples, the way VictoriaMetrics has it: what the vectorised one must equal."""

from __future__ import annotations

import math

from tinyobs.aggregation.rule import AggregationRule, phi_text, quantiles_of
from tinyobs.model.labels import NAME, from_pairs, get
from tinyobs.relabel import apply


class NaiveRule:
    """Keeps dicts by label set; `push` samples, `flush` at the end of an interval."""

    def __init__(self, rule: AggregationRule, start_ms: int) -> None:
        self.rule, self.start_ms = rule, start_ms
        self.groups: dict = {}
        self.inputs: dict = {}

    def push(self, labels, time_ms, value, now_ms):
        """Take one sample."""
        rule = self.rule
        labels = apply(tuple(p for p in labels if p[0] not in rule.drop_input_labels), rule.input_relabel_configs)
        if not labels or math.isnan(value):
            return
        group = self.groups.setdefault(rule.grouped(labels), {"deadline": 0, "samples": [], "sums": {}, "all": []})
        group["deadline"] = now_ms + rule.staleness_interval_ms
        group["samples"].append((time_ms, value, labels))
        group["all"].append(value)
        self._count(labels, time_ms, value, now_ms, group)

    def _count(self, labels, time_ms, value, now_ms, group):
        rule, sums = self.rule, group["sums"]
        known = self.inputs.get(labels)
        if known is not None and known["deadline"] < now_ms:
            known = None
        if known is not None and time_ms < known["time"]:
            return
        sums["sum_first"] = sums.get("sum_first", 0.0)
        if known is None:
            self.inputs[labels] = known = {"begin": time_ms, "growth": 0.0, "seen": True, "group": rule.grouped(labels)}
            delta, first = 0.0, value if now_ms >= self.start_ms + rule.ignore_first_sample_interval_ms else 0.0
        else:
            delta, first = value - known["value"] if value >= known["value"] else value, 0.0
        for name in ("total", "increase"):
            sums[name] = sums.get(name, 0.0) + delta + first
            sums[f"{name}_prometheus"] = sums.get(f"{name}_prometheus", 0.0) + delta
        known["growth"] += delta
        known.update(value=value, time=time_ms, deadline=now_ms + rule.staleness_interval_ms, seen=True)

    def flush(self, flush_ms):
        """Return labels -> value."""
        out = {}
        for labels, group in list(self.groups.items()):
            if flush_ms > group["deadline"]:
                del self.groups[labels]
                continue
            for output in self.rule.outputs:
                for label, value in self._values(output, labels, group):
                    out[self._named(labels, output, label)] = value
            group["samples"] = []
            for name in ("increase", "increase_prometheus"):
                group["sums"][name] = 0.0
        for labels, known in list(self.inputs.items()):
            if flush_ms > known["deadline"]:
                del self.inputs[labels]
            elif known["seen"]:
                known.update(begin=known["time"], growth=0.0, seen=False)
        return out

    def _named(self, labels, output, label):
        name = get(labels, NAME)
        if not self.rule.keep_metric_names:
            name += self.rule.suffix + output.partition("(")[0]
        return from_pairs([*labels, (NAME, name), *([label] if label else [])])

    def _values(self, output, labels, group):
        samples = group["samples"]
        values = [v for _, v, _ in samples]
        if output == "sum_samples":
            return [(None, sum(values))]
        if output == "sum_samples_total":
            return [(None, sum(group["all"]))]
        if output in group["sums"]:
            return [(None, group["sums"][output])]
        if not values:
            return []
        if output.startswith("rate"):
            return [(None, v) for v in self._rates(output, labels)]
        phis = quantiles_of(output)
        if phis is not None:
            ordered = sorted(values)
            return [(("quantile", phi_text(p)), ordered[int(p * (len(values) - 1) + 0.5)]) for p in phis]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        newest = max(t for t, _, _ in samples)
        return [
            (
                None,
                {
                    "avg": mean,
                    "count_samples": len(values),
                    "count_series": len({s for _, _, s in samples}),
                    "last": [v for t, v, _ in samples if t == newest][-1],
                    "max": max(values),
                    "min": min(values),
                    "stddev": math.sqrt(variance),
                    "stdvar": variance,
                    "unique_samples": len(set(values)),
                }[output],
            )
        ]

    def _rates(self, output, labels):
        rates = []
        for known in self.inputs.values():
            if known["group"] == labels and known["seen"] and known["time"] > known["begin"]:
                rates.append(known["growth"] / ((known["time"] - known["begin"]) / 1000))
        if rates:
            yield sum(rates) / (len(rates) if output == "rate_avg" else 1)
