"""Watches: the changes of a kind, as lines that go on until somebody ends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import Response

from include.simulator import forms, parameters, selectors, status
from include.simulator.forms import Form
from include.simulator.resources import Resource
from include.simulator.status import Problem
from include.simulator.store import Event, Object, Store
from include.simulator.streams import Stream


def watch(request: Request, *, resource: Resource, namespace: str, store: Store) -> Response:
    """Return the answer to a watch: what there is, unless a version is given, and then what changes."""
    if "resourceVersionMatch" in request.query_params:
        # Clients that would have a watch begin with a list learn by this that the server is too old for it.
        text = "Forbidden: resourceVersionMatch is forbidden for watch"
        problem = Problem(field="resourceVersionMatch", text=text, reason="FieldValueForbidden")
        raise status.invalid_options("ListOptions", problems=[problem])
    matches = parameters.read_selector(request, resource=resource)
    since = parameters.read_version(request) or 0
    timeout = parameters.read_integer(request, name="timeoutSeconds")
    form = forms.negotiate(request, resource=resource, store=store, single=True)
    lines = _Lines(namespace=namespace, matches=matches, form=form)
    present: list[Object] = []
    if not since:
        present = [item for item in store.select(resource, namespace=namespace) if matches(item)]
    try:
        missed, queue = store.subscribe(resource, since=since or store.revision)
    except status.ApiError as error:
        return Response(error.event(), media_type="application/json")
    begun = [lines.build("ADDED", item) for item in present]
    begun += [line for line in map(lines.show, missed) if line]
    stream = _stream(begun, queue=queue, resource=resource, show=lines.show, seconds=timeout)

    async def close() -> None:
        store.unsubscribe(queue)

    return Stream(stream, close=close, media_type="application/json")


class _Lines:
    """Turns the events that a watch sees into its lines."""

    def __init__(self, *, namespace: str, matches: selectors.Predicate, form: Form) -> None:
        self._namespace = namespace
        self._matches = matches
        self._form = form
        self._is_headed = False

    def show(self, event: Event) -> str:
        """Return the line for an event, or "" for one that this watch does not see."""
        type_, item = event.type, event.object
        now, before = self._selects(event.object), self._selects(event.previous)
        if type_ == "MODIFIED" and now != before:
            type_ = "ADDED" if now else "DELETED"
            if not now and event.previous is not None:
                # As it was while it belonged, with the version of the change.
                version = event.object["metadata"]["resourceVersion"]
                item = {**event.previous, "metadata": {**event.previous["metadata"], "resourceVersion": version}}
        elif not now:
            return ""
        return self.build(type_, item)

    def build(self, type_: str, item: Object) -> str:
        """Return a line; only the first table tells its columns."""
        shown = self._form.show(item, headed=not self._is_headed)
        self._is_headed = True
        return json.dumps({"type": type_, "object": shown}) + "\n"

    def _selects(self, item: Object | None) -> bool:
        if item is None or self._namespace not in {"", item["metadata"].get("namespace")}:
            return False
        return self._matches(item)


async def _stream(
    lines: list[str],
    *,
    queue: asyncio.Queue[Event | None],
    resource: Resource,
    show: Callable[[Event], str],
    seconds: int | None,
) -> AsyncIterator[str]:
    try:
        for line in lines:
            yield line
        async with asyncio.timeout(seconds):
            while (event := await queue.get()) is not None:
                line = show(event) if event.resource == resource else ""
                if line:
                    yield line
    except TimeoutError:
        return
