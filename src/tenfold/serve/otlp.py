"""Numbers in OpenTelemetry's form: OTLP/HTTP with JSON (an ExportMetricsServiceRequest of opentelemetry-proto 1).

Made from the same families as the text of Prometheus, so both say the same. Temporality is cumulative since the process
began. 64-bit integers are texts, NaN and the infinities too, as the JSON form of Protocol Buffers has it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from prometheus_client.core import Metric, Sample

CONTENT_TYPE = b"application/json"
_CUMULATIVE = 2
_Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """Who speaks: the service, its node or process, and since when (microseconds, as `now_us`)."""

    service: str
    instance: str
    version: str
    began_us: int


def request(families: Iterable[Metric], resource: Resource, now_us: int) -> bytes:
    """The export request for all families, as bytes."""
    times = {"startTimeUnixNano": str(resource.began_us * 1000), "timeUnixNano": str(now_us * 1000)}
    attributes = {"service.name": resource.service, "service.instance.id": resource.instance}
    scope = {"name": "tenfold", "version": resource.version}
    metrics = [made for name, family in _named(families) if (made := _metric(name, family, times)) is not None]
    whole = {
        "resourceMetrics": [
            {
                "resource": {"attributes": _attributes(attributes)},
                "scopeMetrics": [{"scope": scope, "metrics": metrics}],
            }
        ]
    }
    return msgspec.json.encode(whole)


def _named(families: Iterable[Metric]) -> Iterator[tuple[str, Metric]]:
    """Each family with a name that no other one has: where a gauge and a counter share theirs (what waits now, and what
    has ever waited), the counter is called as Prometheus shows it."""
    known = list(families)
    often = Counter(family.name for family in known)
    for family in known:
        shared = family.type == "counter" and often[family.name] > 1
        yield (f"{family.name}_total" if shared else family.name), family


def _metric(name: str, family: Metric, times: Mapping[str, str]) -> dict[str, Any] | None:
    samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    if not samples:
        return None
    made: dict[str, Any] = {"name": name, "description": family.documentation}
    if family.unit:
        made["unit"] = family.unit
    match family.type:
        case "counter":
            points = [_number(sample, times) for sample in samples]
            made["sum"] = {"dataPoints": points, "aggregationTemporality": _CUMULATIVE, "isMonotonic": True}
        case "histogram":
            points = [_histogram(group, times) for group in _grouped(samples, "le").values()]
            made["histogram"] = {"dataPoints": points, "aggregationTemporality": _CUMULATIVE}
        case "summary":
            made["summary"] = {
                "dataPoints": [_summary(group, times) for group in _grouped(samples, "quantile").values()]
            }
        case _:
            made["gauge"] = {"dataPoints": [_number(sample, times) for sample in samples]}
    return made


def _number(sample: Sample, times: Mapping[str, str]) -> _Point:
    return {**times, "attributes": _attributes(sample.labels), "asDouble": _double(sample.value)}


def _grouped(samples: Iterable[Sample], inner: str) -> dict[tuple[tuple[str, str], ...], list[Sample]]:
    """Samples by their labels without the one that tells the parts of one point apart."""
    groups: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        key = tuple(sorted((name, value) for name, value in sample.labels.items() if name != inner))
        groups.setdefault(key, []).append(sample)
    return groups


def _histogram(group: list[Sample], times: Mapping[str, str]) -> _Point:
    buckets = sorted((float(sample.labels["le"]), sample.value) for sample in group if "le" in sample.labels)
    below = [0.0, *(count for _, count in buckets)]
    counts = [str(int(after - before)) for before, after in pairwise(below)]
    return {
        **times,
        "attributes": _attributes({name: value for name, value in group[0].labels.items() if name != "le"}),
        "count": str(int(below[-1])),
        "sum": _double(_ending(group, "_sum")),
        "bucketCounts": counts,
        "explicitBounds": [bound for bound, _ in buckets if bound != math.inf],
    }


def _summary(group: list[Sample], times: Mapping[str, str]) -> _Point:
    quantiles = [
        {"quantile": float(sample.labels["quantile"]), "value": _double(sample.value)}
        for sample in group
        if "quantile" in sample.labels
    ]
    return {
        **times,
        "attributes": _attributes({name: value for name, value in group[0].labels.items() if name != "quantile"}),
        "count": str(int(_ending(group, "_count"))),
        "sum": _double(_ending(group, "_sum")),
        "quantileValues": quantiles,
    }


def _ending(group: list[Sample], end: str) -> float:
    return next((sample.value for sample in group if sample.name.endswith(end)), 0.0)


def _attributes(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in labels.items()]


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
