"""The Kubernetes API of one cluster, as an ASGI application: requests in, objects, watches and `Status` errors out."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from include.simulator import (
    discovery,
    forms,
    listing,
    parameters,
    patches,
    resources,
    reviews,
    scales,
    status,
    targets,
    watches,
)
from include.simulator.access import Access, Entry
from include.simulator.disturbances import Call, Disturbances, Refusal
from include.simulator.proxy import Proxy
from include.simulator.resources import Resource
from include.simulator.store import Object, Store
from include.simulator.targets import Target
from include.simulator.webhooks import Webhooks, Write

_OF_ONE_NAMESPACE: Final = ("create", "deletecollection")
_TOLD_AS_THEY_WERE: Final = (resources.PODS, resources.SERVICES)
"""Kinds whose objects a delete answers with, where others get a Status."""


class Api:
    """Answers requests from the store.

    `audit` holds an entry for each one that was processed or refused, added before the answer is sent. `disturbances`
    are what goes wrong with single ones.
    """

    def __init__(self, store: Store, *, access: Access, proxy: Proxy, webhooks: Webhooks, version: str) -> None:
        self._store = store
        self._access = access
        self._proxy = proxy
        self._webhooks = webhooks
        self._version = version
        self.audit: list[Entry] = []
        self.disturbances = Disturbances()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        target = targets.locate(request, store=self._store)
        certificate, authorization = scope["state"]["certificate"], request.headers.get("authorization", "")
        user = self._access.identify(certificate=certificate, authorization=authorization)
        scope["state"]["user"] = user or ""
        process = functools.partial(self._answer, request, target=target, user=user)
        try:
            if self.disturbances:
                call = await _describe(request, target=target, user=user)
                disturbance = self.disturbances.choose(call)
                if disturbance is not None:
                    if isinstance(disturbance.kind, Refusal):
                        process = functools.partial(process, refusal=disturbance.kind.build())
                    await self.disturbances.apply(disturbance, call=call, request=request, send=send, process=process)
                    return
            response = await process()
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(
        self, request: Request, *, target: Target, user: str | None, refusal: Response | None = None
    ) -> Response:
        """Process a request, unless it is refused anyway, and audit it."""
        try:
            if refusal is not None:
                response = refusal
            elif user is None:
                raise status.unauthorized()
            else:
                response = await self._serve(request, target=target, user=user)
        except status.ApiError as error:
            response = JSONResponse(error.body(), status_code=error.code)
        if target.verb == "create" and not target.subresource and response.status_code == 201:
            target = replace(target, name=json.loads(bytes(response.body))["metadata"].get("name", ""))
        self.record(
            user or "",
            target=target,
            path=parameters.full_path(request),
            code=response.status_code,
            content_type=request.headers.get("content-type", ""),
            agent=request.headers.get("user-agent", ""),
            disturbed=refusal is not None,
        )
        return response

    def record(
        self,
        user: str,
        *,
        target: Target,
        path: str,
        code: int,
        content_type: str,
        agent: str = "kubectl",
        disturbed: bool = False,
    ) -> None:
        """Add an entry to the audit log."""
        resource = target.resource
        self.audit.append(
            Entry(
                time=datetime.datetime.now(datetime.UTC),
                user=user,
                verb=target.verb,
                group=resource.group if resource else "",
                resource=resource.plural if resource else "",
                subresource=target.subresource,
                namespace=target.namespace,
                name=target.name,
                path=path,
                code=code,
                content_type=content_type,
                agent=agent,
                disturbed=disturbed,
            )
        )

    async def _serve(self, request: Request, *, target: Target, user: str) -> Response:
        resource = target.resource
        if resource is None:
            return self._serve_path(request, target=target, user=user)
        scoped = f"{resource.plural}/{target.subresource}" if target.subresource else resource.plural
        if not self._access.allows(user, verb=target.verb, resource=scoped):
            # What is said of a Namespace is said of the inside of it.
            raise status.forbidden(
                resource,
                user=user,
                verb=target.verb,
                name=target.name,
                namespace=target.namespace or (target.name if resource == resources.NAMESPACES else ""),
                subresource=target.subresource,
            )
        if resource == resources.SELF_REVIEWS:
            return await self._review(request, target=target, user=user)
        if target.subresource:
            if target.subresource in resource.subresources:
                return await self._serve_subresource(request, target=target)
            if target.subresource != "status" or not resource.status:
                raise status.not_found(resource, name=target.name) if resource.custom else status.no_such_resource()
        return await self._serve_object(request, target=target, resource=resource)

    async def _serve_object(self, request: Request, *, target: Target, resource: Resource) -> Response:
        """Answer for an object, its status or a collection."""
        handlers: dict[str, Callable[[Request, Target, Resource], Any]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        wants_name = target.verb in {"get", "update", "patch", "delete"}
        if resource.custom and wants_name and not target.name:
            raise status.bad_request("name must be provided")
        if target.verb not in handlers or wants_name != bool(target.name) or request.method == "HEAD":
            raise status.method_not_allowed()
        if target.verb in _OF_ONE_NAMESPACE and resource.namespaced and not target.namespace:
            raise status.method_not_allowed()
        if target.verb == "deletecollection" and resource == resources.NAMESPACES:
            raise status.method_not_allowed()
        response: Response = await handlers[target.verb](request, target, resource)
        return response

    def _serve_path(self, request: Request, *, target: Target, user: str) -> Response:
        """Answer for a path of no kind that is served."""
        path = request.url.path
        if not self._access.allows_path(user, path=path):
            raise status.forbidden_path(path, user=user, verb=target.verb)
        if target.is_known:
            raise status.no_such_resource()
        return discovery.answer(request, store=self._store, version=self._version)

    async def _serve_subresource(self, request: Request, *, target: Target) -> Response:
        if target.subresource == "log":
            if target.verb != "get":
                raise status.method_not_allowed()
            return await self._proxy.read_log(request, namespace=target.namespace, name=target.name)
        if target.subresource == "scale":
            return await self._scale(request, target=target)
        if target.subresource == "finalize":
            if target.verb != "update":
                raise status.method_not_allowed()
            return await self._update(request, target, resources.NAMESPACES)
        forward = self._proxy.forward_to_pod if target.resource == resources.PODS else self._proxy.forward_to_service
        return await forward(request, namespace=target.namespace, name=target.name, path=target.rest)

    async def _scale(self, request: Request, *, target: Target) -> Response:
        """Answer for the scale of a Deployment."""
        name, namespace = target.name, target.namespace
        deployment = self._store.get(resources.DEPLOYMENTS, name=name, namespace=namespace)
        if target.verb == "get":
            return JSONResponse(scales.describe(deployment))
        if target.verb == "patch":
            apply = patches.choose(request.headers.get("content-type", ""), custom=False)
            scale = apply(scales.describe(deployment), patch=patches.parse(await request.body(), patch=apply))
            dry_run = parameters.is_dry_run(request, kind="PatchOptions")
        elif target.verb == "update":
            scale = await parameters.read_object(request, resource=scales.SCALE)
            parameters.check_body(scale, resource=scales.SCALE, name=name, namespace=namespace)
            dry_run = parameters.is_dry_run(request, kind="UpdateOptions")
        else:
            raise status.method_not_allowed()
        changed = self._store.replace(
            resources.DEPLOYMENTS,
            name=name,
            namespace=namespace,
            content=scales.rescale(deployment, scale=scale),
            dry_run=dry_run,
        )
        return JSONResponse(scales.describe(changed))

    async def _get(self, request: Request, target: Target, resource: Resource) -> Response:
        form = forms.negotiate(request, resource=resource, store=self._store, single=True)
        self._store.check_revision(parameters.read_version(request) or 0)
        item = self._store.get(resource, name=target.name, namespace=target.namespace)
        return form.answer(form.show(item))

    async def _list(self, request: Request, target: Target, resource: Resource) -> Response:
        form = forms.negotiate(request, resource=resource, store=self._store, single=False)
        listed = listing.select(request, resource=resource, namespace=target.namespace, store=self._store)
        return form.answer(form.show_list(listed.items, resource=resource, metadata=listed.metadata))

    async def _watch(self, request: Request, target: Target, resource: Resource) -> Response:
        return watches.watch(request, resource=resource, namespace=target.namespace, store=self._store)

    async def _create(self, request: Request, target: Target, resource: Resource) -> Response:
        content = await parameters.read_object(request, resource=resource)
        parameters.check_body(content, resource=resource, name=target.name, namespace=target.namespace)
        create = functools.partial(
            self._store.create,
            resource,
            content=content,
            namespace=target.namespace,
            strict=parameters.is_strict(request),
        )
        dry_run = parameters.is_dry_run(request, kind="CreateOptions")
        hooks = self._webhooks.find(resource, operation="CREATE")
        if hooks:
            user = _user(request)
            new = create(dry_run=True)
            await self._webhooks.review(hooks, Write(resource=resource, user=user, dry_run=dry_run, new=new, old=None))
        return JSONResponse(create(dry_run=dry_run), status_code=201)

    async def _review(self, request: Request, *, target: Target, user: str) -> Response:
        if target.name:
            raise status.no_such_resource()
        if target.verb != "create":
            raise status.method_not_allowed()
        content = await parameters.read_object(request, resource=resources.SELF_REVIEWS)
        parameters.check_body(content, resource=resources.SELF_REVIEWS, name="", namespace="")
        parameters.is_dry_run(request, kind="CreateOptions")
        read = self._store.read(resources.SELF_REVIEWS, content=content, strict=parameters.is_strict(request))
        return JSONResponse(reviews.answer(read, user=user, access=self._access), status_code=201)

    async def _update(self, request: Request, target: Target, resource: Resource) -> Response:
        content = await parameters.read_object(request, resource=resource)
        parameters.check_body(content, resource=resource, name=target.name, namespace=target.namespace)
        dry_run, strict = parameters.is_dry_run(request, kind="UpdateOptions"), parameters.is_strict(request)
        named: dict[str, Any] = {"name": target.name, "namespace": target.namespace, "content": content}
        if resource.upserted and not target.subresource:
            stored, is_new = self._store.upsert(resource, **named, dry_run=dry_run, strict=strict)
            return JSONResponse(stored, status_code=201 if is_new else 200)
        replace = functools.partial(
            self._store.replace, resource, **named, subresource=target.subresource, strict=strict
        )
        return JSONResponse(await self.write(replace, target=target, user=_user(request), dry_run=dry_run))

    async def _patch(self, request: Request, target: Target, resource: Resource) -> Response:
        apply = patches.choose(request.headers.get("content-type", ""), custom=resource.custom)
        patch = functools.partial(
            self._store.patch,
            resource,
            name=target.name,
            patch=patches.parse(await request.body(), patch=apply),
            namespace=target.namespace,
            subresource=target.subresource,
            apply=apply,
            strict=parameters.is_strict(request),
        )
        dry_run = parameters.is_dry_run(request, kind="PatchOptions")
        return JSONResponse(await self.write(patch, target=target, user=_user(request), dry_run=dry_run))

    async def write(self, change: Callable[..., Object], *, target: Target, user: str, dry_run: bool = False) -> Object:
        """Store a new version of an object after its webhooks have seen it, and return it. Raises ApiError.

        Who has written meanwhile makes them look again, as in reality. `change` takes `dry_run`.
        """
        resource = target.resource
        while resource is not None and not target.subresource:
            hooks = self._webhooks.find(resource, operation="UPDATE")
            if not hooks:
                break
            old = self._store.get(resource, name=target.name, namespace=target.namespace)
            write = Write(resource=resource, user=user, dry_run=dry_run, new=change(dry_run=True), old=old)
            await self._webhooks.review(hooks, write)
            if self._store.find(resource, name=target.name, namespace=target.namespace) is old:
                break
        return change(dry_run=dry_run)

    async def _delete(self, request: Request, target: Target, resource: Resource) -> Response:
        options = await parameters.read_options(request)
        conditions = options.get("preconditions") or {}
        item, gone = self._store.delete(
            resource,
            name=target.name,
            namespace=target.namespace,
            uid=conditions.get("uid"),
            version=conditions.get("resourceVersion"),
            grace=options.get("gracePeriodSeconds", parameters.read_integer(request, name="gracePeriodSeconds")),
            dry_run=parameters.is_dry_run(request, kind="DeleteOptions", given=options),
        )
        if not gone or resource in _TOLD_AS_THEY_WERE:
            return JSONResponse(item)
        details = {"name": target.name, "kind": resource.plural, "uid": item["metadata"]["uid"]}
        if resource.group:
            details["group"] = resource.group
        return JSONResponse(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        )

    async def _delete_collection(self, request: Request, target: Target, resource: Resource) -> Response:
        options = await parameters.read_options(request)
        dry_run = parameters.is_dry_run(request, kind="DeleteOptions", given=options)
        listed = listing.select(request, resource=resource, namespace=target.namespace, store=self._store)
        for item in listed.items:
            metadata = item["metadata"]
            self._store.delete(
                resource, name=metadata["name"], namespace=metadata.get("namespace", ""), dry_run=dry_run
            )
        return JSONResponse(forms.Form().show_list(listed.items, resource=resource, metadata=listed.metadata))


def _user(request: Request) -> str:
    return str(request.scope["state"]["user"])


async def _describe(request: Request, *, target: Target, user: str | None) -> Call:
    resource, name = target.resource, target.name
    if target.verb == "create" and not target.subresource:
        name = _name_in(await request.body())
    follows = target.subresource == "log" and parameters.read_flag(request, name="follow")
    return Call(
        user=user or "",
        agent=request.headers.get("user-agent", ""),
        verb=target.verb,
        group=resource.group if resource else "",
        resource=resource.plural if resource else "",
        subresource=target.subresource,
        namespace=target.namespace,
        name=name,
        path=parameters.full_path(request),
        streams=target.verb == "watch" or follows,
        peer=request.scope["client"],
        server=request.scope["server"],
    )


def _name_in(body: bytes) -> str:
    """Return the name in the body of a create, as far as there is one."""
    try:
        return str(json.loads(body)["metadata"]["name"])
    except (ValueError, TypeError, LookupError):
        return ""
