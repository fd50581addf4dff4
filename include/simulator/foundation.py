"""What a cluster is below KubeSphere, where that is not as it should be: part of a scenario."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, fields
from typing import Any, Final


class Issuer(enum.Enum):
    """Whose certificate it is that an API server shows.

    Of the authority in the cluster's kubeconfigs; of another one of the same name, as after a reinstallation; or of one
    that has nothing to do with it, as that of a proxy that looks into TLS.
    """

    OWN = "own"
    REINSTALLED = "reinstalled"
    FOREIGN = "foreign"


class Audience(enum.Enum):
    """Who gets to see a certificate: the pods of other clusters, or everybody outside, Airflow included."""

    PODS = "pods"
    EVERYBODY = "everybody"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What an API server shows to those who come from outside; its own pods always see a good one.

    `days` are those until it expires, negative for one that has expired. `names_address`: it is valid for the address
    by which it is seen.
    """

    issuer: Issuer = Issuer.OWN
    days: float = 365
    names_address: bool = True
    shown_to: Audience = Audience.PODS


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """A cluster without what is installed on it.

    `version` is that of Kubernetes, by default one that fits its KubeSphere. `clock` is how many seconds its clock is
    ahead, or behind when negative. `default_storage_class`: one of its StorageClasses is the default. `machine_id` is
    that of its node, where it is to be the same as another's, as with machines that were cloned. `unpullable` are
    images, without a tag, that pods which start cannot pull. A `firewall` before its API server drops what the pods of
    other clusters send.
    """

    certificate: Certificate | None = None
    version: str | None = None
    clock: float = 0
    default_storage_class: bool = True
    machine_id: str | None = None
    unpullable: tuple[str, ...] = ()
    firewall: bool = False


_IMAGE: Final = re.compile(r"[-a-z0-9.]+(/[-a-z0-9.]+)?")
_TEXTS: Final = (
    ("version", re.compile(r"v1\.[0-9]{1,2}\.[0-9]{1,2}"), "a version like v1.22.12"),
    ("machine_id", re.compile(r"[0-9a-f]{32}"), "32 hexadecimal digits"),
)
_CHOICES: Final = {"issuer": Issuer, "shown_to": Audience}


def read(source: Any) -> Kubernetes | str:
    """Return what a scenario says of a cluster's foundation, or what is wrong with that."""
    source = {} if source is None else source
    known = {entry.name for entry in fields(Kubernetes)}
    if not isinstance(source, dict) or not set(source) <= known:
        return f"expected a mapping with {', '.join(sorted(known))}, got {source!r}"
    certificate = _read_certificate(source.get("certificate"))
    if isinstance(certificate, str):
        return f"certificate: {certificate}"
    ahead = source.get("clock", 0)
    if isinstance(ahead, bool) or not isinstance(ahead, (int, float)):
        return f"clock: expected seconds, negative for a clock that is behind, got {ahead!r}"
    for key in ("default_storage_class", "firewall"):
        if not isinstance(source.get(key, False), bool):
            return f"{key}: expected true or false, got {source[key]!r}"
    for key, pattern, expected in _TEXTS:
        text = source.get(key)
        if text is not None and not (isinstance(text, str) and pattern.fullmatch(text)):
            return f"{key}: expected {expected}, got {text!r}"
    images = source.get("unpullable", [])
    if not isinstance(images, list) or not all(isinstance(each, str) and _IMAGE.fullmatch(each) for each in images):
        return f"unpullable: expected a list of images like kubesphere/tower, got {images!r}"
    return Kubernetes(**{**source, "certificate": certificate, "unpullable": tuple(images)})


def _read_certificate(source: Any) -> Certificate | str | None:
    if source is None:
        return None
    known = {entry.name for entry in fields(Certificate)}
    if not isinstance(source, dict) or not set(source) <= known:
        return f"expected a mapping with {', '.join(sorted(known))}, got {source!r}"
    values = dict(source)
    for key, kind in _CHOICES.items():
        choices = [choice.value for choice in kind]
        if key in values and values[key] not in choices:
            return f"{key}: expected {' or '.join(choices)}, got {values[key]!r}"
        if key in values:
            values[key] = kind(values[key])
    days = values.get("days", 365)
    if isinstance(days, bool) or not isinstance(days, (int, float)) or days == 0:
        return f"days: expected days until it expires, negative for one that has expired, got {days!r}"
    if not isinstance(values.get("names_address", True), bool):
        return f"names_address: expected true or false, got {values['names_address']!r}"
    certificate = Certificate(**values)
    if certificate == Certificate(shown_to=certificate.shown_to):
        return "is that of any cluster; say what differs"
    return certificate
