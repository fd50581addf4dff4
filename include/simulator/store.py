"""The objects of one cluster: one resourceVersion counter, optimistic concurrency, finalizers, watch history.

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

from include.simulator import defaults, patches, resources, status
from include.simulator.resources import Resource

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


def timestamp(moment: datetime.datetime | None = None) -> str:
    """Return a moment, or now, as Kubernetes writes it: UTC, whole seconds."""
    moment = moment or datetime.datetime.now(datetime.UTC)
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
        self._forgotten = 0
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

    def select(self, resource: Resource, *, namespace: str = "") -> list[Object]:
        """Return the objects of a kind, of one namespace or of all, ordered by namespace and name."""
        held = self._objects[resource]
        return [held[key] for key in sorted(held) if not namespace or key[0] == namespace]

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

    def create(self, resource: Resource, *, content: Object, namespace: str = "", dry_run: bool = False) -> Object:
        """Store a new object. Raises ApiError 404 (no such namespace), 409 (name taken), 422 (bad name)."""
        created = copy.deepcopy(content)
        metadata = created["metadata"] = created.get("metadata") or {}
        name = metadata["name"] = _choose_name(resource, metadata=metadata)
        if resource.namespaced:
            if self.find(resources.NAMESPACES, name=namespace) is None:
                raise status.not_found(resources.NAMESPACES, name=namespace)
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        existing = self.find(resource, name=name, namespace=namespace)
        if existing is not None:
            raise status.already_exists(resource, name=name, deleting="deletionTimestamp" in existing["metadata"])
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink", "managedFields"):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp()
        if resource.generation != "none":
            metadata["generation"] = 1
        created["apiVersion"], created["kind"] = resource.api_version, resource.kind
        if resource.status:
            created.pop("status", None)
        _drop_empty(metadata)
        missing = defaults.find_missing(resource, content=created)
        if missing is not None:
            raise status.invalid(
                resource, name=name, field=missing, problem="Required value", reason="FieldValueRequired"
            )
        defaults.complete(resource, content=created, allocator=self._allocator)
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
    ) -> Object:
        """Store a new version of an object; an unchanged one is not written and starts no event.

        Raises ApiError 404, 409 (stale resourceVersion or other uid), 422.
        """
        old = self.get(resource, name=name, namespace=namespace)
        before, given = old["metadata"], content.get("metadata") or {}
        if given.get("uid") and given["uid"] != before["uid"]:
            raise status.conflict(
                resource,
                name=name,
                cause=f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {before['uid']}",
            )
        if given.get("resourceVersion") and given["resourceVersion"] != before["resourceVersion"]:
            raise status.conflict(resource, name=name)
        if not given.get("resourceVersion") and resource.custom:
            raise status.invalid(
                resource,
                name=name,
                field="metadata.resourceVersion",
                problem="Invalid value: 0x0: must be specified for an update",
            )
        new = self._next_version(resource, old=old, content=content, subresource=subresource)
        if new == old:
            return old
        metadata = new["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            if not dry_run:
                self._remove(resource, old=old)
            return new
        if dry_run:
            return new
        return self._commit("MODIFIED", resource=resource, new=new, previous=old)

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
    ) -> Object:
        """Apply a patch to an object. Raises what `replace` raises, and ApiError 400 or 422 for a bad patch."""
        old = self.get(resource, name=name, namespace=namespace)
        return self.replace(
            resource,
            name=name,
            content=apply(old, patch=patch),
            namespace=namespace,
            subresource=subresource,
            dry_run=dry_run,
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
        """Delete an object, or mark it while finalizers (or a pod's kubelet) hold it.

        Returns the object and whether it is gone. Raises ApiError 404, and 409 when a precondition does not hold.
        """
        old = self.get(resource, name=name, namespace=namespace)
        metadata = old["metadata"]
        for field, wanted, held in (
            ("UID", uid, metadata["uid"]),
            ("ResourceVersion", version, metadata["resourceVersion"]),
        ):
            if wanted is not None and wanted != held:
                cause = f"Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {held}"
                raise status.conflict(resource, name=name, cause=cause)
        on_node = resource == resources.PODS and bool(old.get("spec", {}).get("nodeName"))
        held_back = bool(metadata.get("finalizers")) or (on_node and grace != 0)
        if not held_back:
            if not dry_run:
                self._remove(resource, old=old)
            return old, True
        if "deletionTimestamp" in metadata or dry_run:
            return old, False
        marked = copy.deepcopy(old)
        marked["metadata"]["deletionTimestamp"] = timestamp()
        marked["metadata"]["deletionGracePeriodSeconds"] = 30 if on_node else 0
        if "generation" in metadata:
            marked["metadata"]["generation"] += 1
        return self._commit("MODIFIED", resource=resource, new=marked, previous=old), False

    def _next_version(self, resource: Resource, *, old: Object, content: Object, subresource: str) -> Object:
        before = old["metadata"]
        if subresource == "status":
            new = copy.deepcopy(old)
            if "status" in content:
                new["status"] = copy.deepcopy(content["status"])
            else:
                new.pop("status", None)
            return new
        new = copy.deepcopy(content)
        metadata = new["metadata"] = new.get("metadata") or {}
        for field in _SYSTEM_FIELDS:
            metadata.pop(field, None)
            if field in before:
                metadata[field] = before[field]
        metadata.pop("managedFields", None)
        _drop_empty(metadata)
        added = set(metadata.get("finalizers") or []) - set(before.get("finalizers") or [])
        if "deletionTimestamp" in before and added:
            found = ", ".join(f'"{finalizer}"' for finalizer in sorted(added))
            raise status.invalid(
                resource,
                name=before["name"],
                field="metadata.finalizers",
                reason="FieldValueForbidden",
                problem="Forbidden: no new finalizers can be added if the object is being deleted, found new "
                f"finalizers []string{{{found}}}",
            )
        new["apiVersion"], new["kind"] = resource.api_version, resource.kind
        if resource.status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        defaults.complete(resource, content=new, allocator=self._allocator)
        if resource.generation != "none" and _raises_generation(resource, old=old, new=new):
            metadata["generation"] = before.get("generation", 0) + 1
        return new

    def _commit(self, type_: str, *, resource: Resource, new: Object, previous: Object | None) -> Object:
        self.revision += 1
        new["metadata"]["resourceVersion"] = str(self.revision)
        self._objects[resource][(new["metadata"].get("namespace", ""), new["metadata"]["name"])] = new
        self._publish(Event(revision=self.revision, type=type_, resource=resource, object=new, previous=previous))
        return new

    def _remove(self, resource: Resource, *, old: Object) -> None:
        """Take an object away; the event shows its last stored state with a new resourceVersion, as recorded."""
        if resource == resources.NAMESPACES:
            for kind, held in self._objects.items():
                for (namespace, _), item in list(held.items()):
                    if namespace == old["metadata"]["name"]:
                        self._remove(kind, old=item)
        self.revision += 1
        last = copy.deepcopy(old)
        last["metadata"]["resourceVersion"] = str(self.revision)
        del self._objects[resource][(old["metadata"].get("namespace", ""), old["metadata"]["name"])]
        self._publish(Event(revision=self.revision, type="DELETED", resource=resource, object=last, previous=old))

    def _publish(self, event: Event) -> None:
        if self._history.maxlen is not None and len(self._history) == self._history.maxlen:
            self._forgotten = self._history[0].revision
        self._history.append(event)
        for queue in self._watches:
            queue.put_nowait(event)


def _choose_name(resource: Resource, *, metadata: Object) -> str:
    """Return the name of a new object, made up from `generateName` where wanted. Raises ApiError 422."""
    name = str(metadata.get("name") or "")
    if not name and metadata.get("generateName"):
        name = metadata["generateName"] + "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    if not name:
        raise status.invalid(
            resource,
            name="",
            field="metadata.name",
            reason="FieldValueRequired",
            problem="Required value: name or generateName is required",
        )
    problem = resources.name_problem(resource, name=name)
    if problem:
        raise status.invalid(resource, name=name, field="metadata.name", problem=f'Invalid value: "{name}": {problem}')
    return name


def _drop_empty(metadata: Object) -> None:
    """Drop what Go omits when it is empty."""
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
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
