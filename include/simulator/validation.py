"""What an API server refuses in an object that it can read: names, labels, finalizers, missing and immutable fields.

Of Kubernetes' own kinds as much as something here could get wrong; the rest of a field's rules are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from include.simulator import resources
from include.simulator.resources import Resource
from include.simulator.status import Problem

Object = dict[str, Any]

_WORD: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_STANDARD_FINALIZERS: Final = {"orphan", "foregroundDeletion", "kubernetes"}
_ACCOUNT: Final = "kubernetes.io/service-account.name"
_TOKEN_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type
_IMMUTABLE: Final = "field is immutable"

_WORD_TEXT: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_KEY_TEXT: Final = (
    f"a qualified name {_WORD_TEXT} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. "
    "'example.com/MyName')"
)
_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_DATA_KEY_TEXT: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_SERVICE_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def find_key_problem(key: str) -> str | None:
    """Return what is wrong with the key of a label, or None."""
    prefix, slash, name = key.rpartition("/")
    if slash and not resources.SUBDOMAIN.fullmatch(prefix):
        return _KEY_TEXT
    return None if _WORD.fullmatch(name) and len(name) <= 63 else _KEY_TEXT


def find_problems(resource: Resource, *, content: Object, old: Object | None) -> list[Problem]:
    """Return what is wrong with a new object, or with a new version of an old one."""
    metadata = content["metadata"]
    problems = list(_metadata_problems(resource, metadata=metadata))
    if old is None:
        name = resources.name_problem(resource, name=metadata["name"])
        if name is not None:
            problems.insert(0, _bad("metadata.name", metadata["name"], name))
    elif "deletionTimestamp" in metadata:
        added = set(metadata.get("finalizers") or []) - set(old["metadata"].get("finalizers") or [])
        if added:
            found = ", ".join(f'"{finalizer}"' for finalizer in sorted(added))
            text = (
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{found}}}"
            )
            problems.append(Problem(field="metadata.finalizers", text=text, reason="FieldValueForbidden"))
    find = _KINDS.get(resource)
    if find is not None:
        problems += find(content, old)
    return problems


def find_event_problems(content: Object, *, namespace: str) -> list[Problem]:
    """Return what is wrong with an Event: it lies in its subject's namespace, or in `default`."""
    subject = (content.get("involvedObject") or {}).get("namespace") or ""
    if namespace == (subject or "default"):
        return []
    return [_bad("involvedObject.namespace", subject, "does not match event.namespace")]


def _metadata_problems(resource: Resource, *, metadata: Object) -> Iterator[Problem]:
    for key, value in (metadata.get("labels") or {}).items():
        key_problem = find_key_problem(key)
        if key_problem is not None:
            yield _bad("metadata.labels", key, key_problem)
        if len(value) > 63:
            yield _bad("metadata.labels", value, "must be no more than 63 characters")
        elif value and not _WORD.fullmatch(value):
            yield _bad("metadata.labels", value, _VALUE_TEXT)
    for key in metadata.get("annotations") or {}:
        key_problem = find_key_problem(key.lower())
        if key_problem is not None:
            yield _bad("metadata.annotations", key, key_problem)
    for position, finalizer in enumerate(metadata.get("finalizers") or []):
        if find_key_problem(finalizer) is not None:
            yield _bad("metadata.finalizers", finalizer, _KEY_TEXT)
        elif not resource.custom and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield _bad(f"metadata.finalizers[{position}]", finalizer, text)


def _data(content: Object, old: Object | None) -> Iterator[Problem]:
    for key in [*(content.get("data") or {}), *(content.get("binaryData") or {})]:
        if not _DATA_KEY.fullmatch(key):
            yield _bad(f"data[{key}]", key, _DATA_KEY_TEXT)
    if old is not None and old.get("immutable") and content.get("data") != old.get("data"):
        text = "Forbidden: field is immutable when `immutable` is set"
        yield Problem(field="data", text=text, reason="FieldValueForbidden")


def _secret(content: Object, old: Object | None) -> Iterator[Problem]:
    yield from _data(content, old)
    if old is not None and content["type"] != old["type"]:
        yield _bad("type", content["type"], _IMMUTABLE)
    if content["type"] == _TOKEN_TYPE and not (content["metadata"].get("annotations") or {}).get(_ACCOUNT):
        yield _required(f"metadata.annotations[{_ACCOUNT}]")


def _service(content: Object, old: Object | None) -> Iterator[Problem]:
    spec = content["spec"]
    ports = spec.get("ports") or []
    if spec["type"] not in _SERVICE_TYPES:
        known = ", ".join(f'"{type_}"' for type_ in _SERVICE_TYPES)
        text = f'Unsupported value: "{spec["type"]}": supported values: {known}'
        yield Problem(field="spec.type", text=text, reason="FieldValueNotSupported")
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield _required("spec.ports")
    if len(ports) > 1:
        yield from (_required(f"spec.ports[{index}].name") for index, port in enumerate(ports) if not port.get("name"))
    before = old["spec"].get("clusterIP") if old is not None else None
    if before and spec["type"] != "ExternalName" and spec.get("clusterIP") != before:
        text = f'Invalid value: []string{{"{spec.get("clusterIP")}"}}: may not change once set'
        yield Problem(field="spec.clusterIPs[0]", text=text)


def _deployment(content: Object, old: Object | None) -> Iterator[Problem]:
    spec = content["spec"]
    selector, template = spec.get("selector") or {}, spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if spec["replicas"] < 0:
        yield _number("spec.replicas", spec["replicas"])
    if not selector:
        yield _required("spec.selector")
    wanted = selector.get("matchLabels") or {}
    if not wanted.items() <= labels.items() or not labels:
        shown = ", ".join(f'"{key}":"{value}"' for key, value in sorted(labels.items()))
        text = f"Invalid value: map[string]string{{{shown}}}: `selector` does not match template `labels`"
        yield Problem(field="spec.template.metadata.labels", text=text)
    yield from _pod_spec(template.get("spec") or {}, path="spec.template.spec")
    if old is not None and selector != old["spec"]["selector"]:
        yield Problem(field="spec.selector", text=f"Invalid value: {selector}: {_IMMUTABLE}")


def _lease(content: Object, _old: Object | None) -> Iterator[Problem]:
    spec = content["spec"]
    if spec.get("leaseDurationSeconds", 1) <= 0:
        yield Problem(
            field="spec.leaseDurationSeconds",
            text=f"Invalid value: {spec['leaseDurationSeconds']}: must be greater than 0",
        )
    if spec.get("leaseTransitions", 0) < 0:
        yield _number("spec.leaseTransitions", spec["leaseTransitions"])


def _webhooks(content: Object, _old: Object | None) -> Iterator[Problem]:
    for position, hook in enumerate(content.get("webhooks") or []):
        yield from _webhook(hook, path=f"webhooks[{position}]")


def _webhook(hook: Object, *, path: str) -> Iterator[Problem]:
    name = str(hook.get("name") or "")
    if len(name.split(".")) < 3 or not resources.SUBDOMAIN.fullmatch(name):
        yield _bad(f"{path}.name", name, "should be a domain with at least three segments separated by dots")
    if not hook.get("admissionReviewVersions"):
        yield _must_be_one_of(f"{path}.admissionReviewVersions", ("v1", "v1beta1"))
    effects = hook.get("sideEffects")
    if effects is None:
        yield _must_be_one_of(f"{path}.sideEffects", _SIDE_EFFECTS)
    for field, value, known in (
        ("sideEffects", effects, _SIDE_EFFECTS),
        ("failurePolicy", hook.get("failurePolicy"), ("Fail", "Ignore")),
    ):
        if value is not None and value not in known:
            shown = ", ".join(f'"{entry}"' for entry in known)
            text = f'Unsupported value: "{value}": supported values: {shown}'
            yield Problem(field=f"{path}.{field}", text=text, reason="FieldValueNotSupported")
    config = hook.get("clientConfig") or {}
    if ("url" in config) == ("service" in config):
        text = "Required value: exactly one of url or service is required"
        yield Problem(field=f"{path}.clientConfig", text=text, reason="FieldValueRequired")


def _pod(content: Object, _old: Object | None) -> Iterator[Problem]:
    return _pod_spec(content.get("spec") or {}, path="spec")


def _pod_spec(spec: Object, *, path: str) -> Iterator[Problem]:
    if not spec.get("containers"):
        yield _required(f"{path}.containers")
    for position, container in enumerate(spec.get("containers") or []):
        for field in ("name", "image"):
            if not container.get(field):
                yield _required(f"{path}.containers[{position}].{field}")


_KINDS: Final[dict[Resource, Callable[[Object, Object | None], Iterator[Problem]]]] = {
    resources.CONFIGMAPS: _data,
    resources.SECRETS: _secret,
    resources.SERVICES: _service,
    resources.DEPLOYMENTS: _deployment,
    resources.LEASES: _lease,
    resources.WEBHOOK_CONFIGURATIONS: _webhooks,
    resources.PODS: _pod,
}


def _bad(field: str, value: Any, text: str) -> Problem:
    return Problem(field=field, text=f'Invalid value: "{value}": {text}')


def _required(field: str) -> Problem:
    return Problem(field=field, text="Required value", reason="FieldValueRequired")


def _must_be_one_of(field: str, known: tuple[str, ...]) -> Problem:
    return Problem(
        field=field, text=f"Required value: must specify one of {', '.join(known)}", reason="FieldValueRequired"
    )


def _number(field: str, value: int) -> Problem:
    return Problem(field=field, text=f"Invalid value: {value}: must be greater than or equal to 0")
