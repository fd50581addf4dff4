"""The objects of one cluster: one resourceVersion counter, optimistic concurrency, finalizers, history.

Stored objects are never changed after they were stored: every write stores a new one. Readers may keep what they get,
and must not change it. All methods are called in the simulation's event loop, so that no locks are needed.
"""

from __future__ import annotations

import asyncio
import collections
import copy
import datetime
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from include.simulator import clock, defaults, patches, resources, schemas, status, validation
from include.simulator.resources import Resource
from include.simulator.status import Problem

Object = dict[str, Any]

_SYSTEM_FIELDS = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "resourceVersion",
)
_GIVEN_BY_SERVER = ("uid", "creationTimestamp", "generation", "selfLink", "managedFields", "resourceVersion")
_KEPT_NAMESPACES = ("default", "kube-system", "kube-public")


def timestamp(moment: datetime.datetime | None = None) -> str:
    """Return a moment, or now, as Kubernetes writes it: UTC, whole seconds."""
    moment = moment or clock.now()
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change: what a watch is told. `previous` lets a watch with a selector see objects enter and leave it."""

    revision: int
    type: str
    resource: Resource
    object: Object
    previous: Object | None


class Store:
    """Holds the objects of one cluster. `window` is how many changes a watch can be resumed over."""

    def __init__(self, *, window: int = 5000) -> None:
        self.revision = 100
        self._objects: dict[Resource, dict[tuple[str, str], Object]] = collections.defaultdict(dict)
        self._history: collections.deque[Event] = collections.deque(maxlen=window)
        self._forgotten = self.revision
        self._watches: set[asyncio.Queue[Event | None]] = set()
        self._allocator = defaults.Allocator()

    # Reading

    def find(self, resource: Resource, *, name: str, namespace: str = "") -> Object | None:
        """Return an object, or None."""
        return self._objects[resource].get((namespace, name))

    def get(self, resource: Resource, *, name: str, namespace: str = "") -> Object:
        """Return an object. Raises ApiError 404."""
        found = self.find(resource, name=name, namespace=namespace)
        if found is None:
            raise status.not_found(resource, name=name)
        return found

    def select(self, resource: Resource, *, namespace: str = "", revision: int | None = None) -> list[Object]:
        """Return the objects of a kind, of one namespace or of all, ordered by namespace and name.

        With a revision, as they were then. Raises ApiError 410 when the history does not reach back so far, 504 when it
        is yet to come.
        """
        held = self._objects[resource] if revision is None else self._as_of(revision, resource=resource)
        return [held[key] for key in sorted(held, key="/".join) if not namespace or key[0] == namespace]

    def check_revision(self, revision: int) -> None:
        """Raise ApiError 504 for a revision that is yet to come."""
        if revision > self.revision:
            raise status.too_new(revision, current=self.revision)

    def _as_of(self, revision: int, *, resource: Resource) -> dict[tuple[str, str], Object]:
        self.check_revision(revision)
        if revision < self._forgotten:
            raise status.expired(revision, oldest=self._forgotten + 1)
        held = dict(self._objects[resource])
        for event in reversed(self._history):
            if event.revision <= revision:
                break
            if event.resource == resource:
                key = _key(event.object)
                held.pop(key, None)
                if event.previous is not None:
                    held[key] = event.previous
        return held

    def serves(self, resource: Resource) -> bool:
        """Say whether this cluster has the kind: built in, or its CustomResourceDefinition exists."""
        return not resource.custom or self.find(resources.DEFINITIONS, name=resource.qualified) is not None

    def history(self) -> Iterator[Event]:
        """Return the kept changes, oldest first."""
        return iter(tuple(self._history))

    # Watching

    def subscribe(self, resource: Resource, *, since: int) -> tuple[list[Event], asyncio.Queue[Event | None]]:
        """Return the changes after a revision and a queue of those to come; None in it ends the watch.

        Raises ApiError 410 when the history does not reach back so far.
        """
        if since < self._forgotten:
            raise status.expired(since, oldest=self._forgotten + 1)
        missed = [event for event in self._history if event.revision > since and event.resource == resource]
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._watches.add(queue)
        return missed, queue

    def unsubscribe(self, queue: asyncio.Queue[Event | None]) -> None:
        """Forget a watch."""
        self._watches.discard(queue)

    def end_watches(self) -> None:
        """End every watch, as a server that stops does."""
        for queue in self._watches:
            queue.put_nowait(None)

    def compact(self) -> None:
        """Forget the kept changes, as etcd's compaction does: older watches get 410."""
        self._history.clear()
        self._forgotten = self.revision

    # Writing

    def create(
        self,
        resource: Resource,
        *,
        content: Object,
        namespace: str = "",
        dry_run: bool = False,
        strict: bool = False,
    ) -> Object:
        """Store a new object. `strict` refuses fields that its kind does not have, which are dropped otherwise.

        Raises ApiError 400 (no object of this kind), 403 (namespace is going), 404 (no such namespace), 409 (name
        taken), 422 (refused), 500 (has a version).
        """
        created = self.read(resource, content=copy.deepcopy(content), strict=strict)
        metadata = created["metadata"] = created.get("metadata") or {}
        if metadata.get("resourceVersion"):
            raise status.failure("resourceVersion should not be set on objects to be created")
        name = metadata["name"] = _choose_name(resource, metadata=metadata)
        metadata.pop("namespace", None)
        if resource.namespaced:
            metadata["namespace"] = namespace
            self._check_namespace(namespace, resource=resource, name=name)
        for field in (*_GIVEN_BY_SERVER, "deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp()
        if resource.generation != "none":
            metadata["generation"] = 1
        created["apiVersion"], created["kind"] = resource.api_version, resource.kind
        if resource.status:
            created.pop("status", None)
        _drop_empty(metadata)
        defaults.complete(resource, content=created, old=None, allocator=self._choose_allocator(dry_run))
        self._check(resource, content=created, old=None)
        existing = self.find(resource, name=name, namespace=namespace)
        if existing is not None:
            raise status.already_exists(resource, name=name, deleting="deletionTimestamp" in existing["metadata"])
        if not dry_run:
            self._commit("ADDED", resource=resource, new=created, previous=None)
        return created

    def replace(
        self,
        resource: Resource,
        *,
        name: str,
        content: Object,
        namespace: str = "",
        subresource: str = "",
        dry_run: bool = False,
        strict: bool = False,
    ) -> Object:
        """Store a new version of an object; an unchanged one is not written and starts no event.

        Raises ApiError 400, 404, 409 (stale resourceVersion or other uid), 422.
        """
        old = self.get(resource, name=name, namespace=namespace)
        before, given = old["metadata"], content.get("metadata") or {}
        if given.get("uid") and given["uid"] != before["uid"]:
            raise _other_object(resource, name=name, namespace=namespace, wanted=given["uid"], held=before["uid"])
        if given.get("resourceVersion") and given["resourceVersion"] != before["resourceVersion"]:
            raise status.conflict(resource, name=name)
        if not given.get("resourceVersion") and (resource.custom or resource.versioned):
            problem = Problem(
                field="metadata.resourceVersion", text="Invalid value: 0x0: must be specified for an update"
            )
            raise status.invalid(resource, name=name, problems=[problem], kind=resource.plural)
        read = self.read(resource, content=copy.deepcopy(content), strict=strict)
        new = self._next_version(resource, old=old, content=read, subresource=subresource, dry_run=dry_run)
        if new == old:
            return old
        metadata = new["metadata"]
        if "deletionTimestamp" in metadata and not _is_held(resource, item=new):
            if not dry_run:
                self._remove(resource, old=old)
            return new
        if dry_run:
            return new
        return self._commit("MODIFIED", resource=resource, new=new, previous=old)

    def upsert(
        self,
        resource: Resource,
        *,
        name: str,
        content: Object,
        namespace: str = "",
        dry_run: bool = False,
        strict: bool = False,
    ) -> tuple[Object, bool]:
        """Store a new version of an object, or a new object of a kind whose updates make one.

        Returns the object and whether it is new. Raises what `replace` and `create` raise.
        """
        options: dict[str, Any] = {"namespace": namespace, "dry_run": dry_run, "strict": strict}
        if self.find(resource, name=name, namespace=namespace) is not None:
            return self.replace(resource, name=name, content=content, **options), False
        given = dict(content.get("metadata") or {})
        if given.get("uid"):
            raise _other_object(resource, name=name, namespace=namespace, wanted=given["uid"], held="")
        given.pop("resourceVersion", None)
        return self.create(resource, content={**content, "metadata": given}, **options), True

    def patch(
        self,
        resource: Resource,
        *,
        name: str,
        patch: Any,
        namespace: str = "",
        subresource: str = "",
        apply: patches.Patch = patches.merge,
        dry_run: bool = False,
        strict: bool = False,
    ) -> Object:
        """Apply a patch to an object. Raises what `replace` raises, and ApiError 400 or 422 for a bad patch."""
        old = self.get(resource, name=name, namespace=namespace)
        patched = apply(old, patch=patch)
        metadata = patched.get("metadata") or {}
        if metadata.get("name", name) != name:
            raise status.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        try:
            self._decode(resource, content=patched, strict=strict)
        except schemas.DecodeError as error:
            raise status.invalid_patch(schemas.shown(patched), problem=str(error)) from error
        if metadata.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            problem = Problem(field="metadata.uid", text=f'Invalid value: "{metadata["uid"]}": field is immutable')
            raise status.invalid(resource, name=name, problems=[problem])
        return self.replace(
            resource, name=name, content=patched, namespace=namespace, subresource=subresource, dry_run=dry_run
        )

    def delete(
        self,
        resource: Resource,
        *,
        name: str,
        namespace: str = "",
        uid: str | None = None,
        version: str | None = None,
        grace: int | None = None,
        dry_run: bool = False,
    ) -> tuple[Object, bool]:
        """Delete an object, or mark it while finalizers, a namespace's content or a pod's kubelet hold it.

        Returns the object and whether it is gone. Raises ApiError 403, 404, and 409 when a precondition does not hold.
        """
        old = self.get(resource, name=name, namespace=namespace)
        metadata = old["metadata"]
        if resource == resources.NAMESPACES and name in _KEPT_NAMESPACES:
            raise status.forbidden_for_reason(resource, name=name, cause="this namespace may not be deleted")
        for field, wanted, held, hint in (
            ("UID", uid, metadata["uid"], "have been deleted and then recreated"),
            ("ResourceVersion", version, metadata["resourceVersion"], "have been modified"),
        ):
            if wanted is not None and wanted != held:
                cause = (
                    f"the {field} in the precondition ({wanted}) does not match the {field} in record ({held}). The "
                    f"object might {hint}"
                )
                raise status.conflict(resource, name=name, cause=cause, kind=resource.kind)
        on_node = resource == resources.PODS and bool(old.get("spec", {}).get("nodeName"))
        if not _is_held(resource, item=old) and not (on_node and grace != 0):
            if not dry_run:
                self._remove(resource, old=old)
            return old, True
        if "deletionTimestamp" in metadata:
            return old, False
        marked = copy.deepcopy(old)
        marked["metadata"]["deletionTimestamp"] = timestamp()
        if resource == resources.NAMESPACES:
            marked["status"] = {**(marked.get("status") or {}), "phase": "Terminating"}
        else:
            marked["metadata"]["deletionGracePeriodSeconds"] = 30 if on_node else 0
        if "generation" in metadata:
            marked["metadata"]["generation"] += 1
        if dry_run:
            return marked, False
        return self._commit("MODIFIED", resource=resource, new=marked, previous=old), False

    def read(self, resource: Resource, *, content: Object, strict: bool) -> Object:
        """Return an object without what its kind does not have. Raises ApiError 400."""
        try:
            return self._decode(resource, content=content, strict=strict)
        except schemas.DecodeError as error:
            raise status.unreadable(resource, content=content, problem=str(error)) from error

    def _decode(self, resource: Resource, *, content: Object, strict: bool) -> Object:
        decoded = schemas.decode(resource, content)
        schema = self._schema(resource)
        if schema is not None:
            decoded = schemas.prune(decoded, schema=schema)
        unknown = schemas.find_unknown(content, kept=decoded) if strict else []
        if unknown:
            raise schemas.DecodeError(
                "strict decoding error: " + ", ".join(f'unknown field "{name}"' for name in unknown)
            )
        return decoded

    def _schema(self, resource: Resource) -> Object | None:
        """Return the schema of a custom kind."""
        if not resource.custom:
            return None
        definition = self.find(resources.DEFINITIONS, name=resource.qualified)
        return schemas.of_definition(definition, version=resource.version) if definition else None

    def _check(self, resource: Resource, *, content: Object, old: Object | None) -> None:
        """Raise ApiError 422 for an object that is refused."""
        problems = validation.find_problems(resource, content=content, old=old)
        schema = self._schema(resource)
        if schema is not None:
            problems += schemas.find_problems(content, schema=schema)
        if resource == resources.EVENTS and old is None:
            problems += validation.find_event_problems(content, namespace=content["metadata"]["namespace"])
        if resource == resources.SERVICES and old is None:
            problems += self._address_problems(content["spec"].get("clusterIP"))
        if problems:
            raise status.invalid(resource, name=content["metadata"]["name"], problems=problems)

    def _address_problems(self, address: str | None) -> list[Problem]:
        taken = {item["spec"].get("clusterIP") for item in self._objects[resources.SERVICES].values()} - {None, "None"}
        if address not in taken:
            return []
        text = (
            f'Invalid value: []string{{"{address}"}}: failed to allocate IP {address}: provided IP is already allocated'
        )
        return [Problem(field="spec.clusterIPs", text=text)]

    def _check_namespace(self, namespace: str, *, resource: Resource, name: str) -> None:
        found = self.find(resources.NAMESPACES, name=namespace)
        if found is None:
            raise status.not_found(resources.NAMESPACES, name=namespace)
        if "deletionTimestamp" in found["metadata"]:
            cause = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise status.forbidden_for_reason(resource, name=name, cause=cause)

    def _choose_allocator(self, dry_run: bool) -> defaults.Allocator:
        return defaults.DryAllocator() if dry_run else self._allocator

    def _next_version(
        self, resource: Resource, *, old: Object, content: Object, subresource: str, dry_run: bool
    ) -> Object:
        before = old["metadata"]
        if subresource in {"status", "finalize"}:
            part = "spec" if subresource == "finalize" else "status"
            new = copy.deepcopy(old)
            new.pop(part, None)
            if part in content:
                new[part] = content[part]
            return new
        new = content
        metadata = new["metadata"] = new.get("metadata") or {}
        for field in _SYSTEM_FIELDS:
            metadata.pop(field, None)
            if field in before:
                metadata[field] = before[field]
        metadata.pop("managedFields", None)
        _drop_empty(metadata)
        new["apiVersion"], new["kind"] = resource.api_version, resource.kind
        if resource.status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        if resource == resources.NAMESPACES:
            new["spec"] = old["spec"]
        defaults.complete(resource, content=new, old=old, allocator=self._choose_allocator(dry_run))
        self._check(resource, content=new, old=old)
        if resource.generation != "none" and _raises_generation(resource, old=old, new=new):
            metadata["generation"] = before.get("generation", 0) + 1
        return new

    def _commit(self, type_: str, *, resource: Resource, new: Object, previous: Object | None) -> Object:
        self.revision += 1
        new["metadata"]["resourceVersion"] = str(self.revision)
        self._objects[resource][_key(new)] = new
        self._publish(Event(revision=self.revision, type=type_, resource=resource, object=new, previous=previous))
        return new

    def _remove(self, resource: Resource, *, old: Object) -> None:
        """Take an object away; the event shows its last stored state with a new resourceVersion, as recorded."""
        if resource == resources.DEFINITIONS:
            for kind in resources.ALL:
                if kind.custom and kind.qualified == old["metadata"]["name"]:
                    for item in list(self._objects[kind].values()):
                        self._remove(kind, old=item)
        self.revision += 1
        last = copy.deepcopy(old)
        last["metadata"]["resourceVersion"] = str(self.revision)
        del self._objects[resource][_key(old)]
        self._publish(Event(revision=self.revision, type="DELETED", resource=resource, object=last, previous=old))

    def _publish(self, event: Event) -> None:
        if self._history.maxlen is not None and len(self._history) == self._history.maxlen:
            self._forgotten = self._history[0].revision
        self._history.append(event)
        for queue in self._watches:
            queue.put_nowait(event)


def _other_object(resource: Resource, *, name: str, namespace: str, wanted: str, held: str) -> status.ApiError:
    """Return the error for an update of an object that is gone; `held` is the uid of what has its name now, if any."""
    key = "/" + "/".join(filter(None, ("registry", resource.group, resource.plural, namespace, name)))
    cause = (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition "
        f"failed: UID in precondition: {wanted}, UID in object meta: {held}"
    )
    return status.conflict(resource, name=name, cause=cause)


def _key(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _is_held(resource: Resource, *, item: Object) -> bool:
    """Say whether finalizers keep an object that is deleted; those of a Namespace stand in its spec."""
    held = item["metadata"].get("finalizers")
    return bool(held or (resource == resources.NAMESPACES and item["spec"].get("finalizers")))


def _choose_name(resource: Resource, *, metadata: Object) -> str:
    """Return the name of a new object, made up from `generateName` where wanted. Raises ApiError 422."""
    name = str(metadata.get("name") or "")
    if not name and metadata.get("generateName"):
        name = metadata["generateName"] + "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    if not name:
        problem = Problem(
            field="metadata.name",
            text="Required value: name or generateName is required",
            reason="FieldValueRequired",
        )
        raise status.invalid(resource, name="", problems=[problem])
    return name


def _drop_empty(metadata: Object) -> None:
    """Drop what Go omits when it is empty."""
    for field in ("labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp"):
        if not metadata.get(field):
            metadata.pop(field, None)


def _raises_generation(resource: Resource, *, old: Object, new: Object) -> bool:
    ignored = {"metadata", "status"} if resource.generation == "spec" else {"metadata"}
    if {key: value for key, value in old.items() if key not in ignored} != {
        key: value for key, value in new.items() if key not in ignored
    }:
        return True
    # Deployments are the exception: a changed annotation counts too (registry/apps/deployment/strategy.go).
    return resource == resources.DEPLOYMENTS and old["metadata"].get("annotations") != new["metadata"].get(
        "annotations"
    )
