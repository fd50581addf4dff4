"""Watches: where they begin, what they show, how they end."""

import kubernetes
import pytest

from tests.contract.conftest import CUSTOM, MERGE, PLAIN


def seen(events):
    return [(type_, found["metadata"]["name"]) for type_, found in events]


def change(send, kind, name, value):
    return send("PATCH", kind.at(name), {kind.field: {"provider": value}}, content_type=MERGE).body


def label(send, kind, name, value):
    return send("PATCH", kind.at(name), {"metadata": {"labels": {"in": value}}}, content_type=MERGE).body


@pytest.mark.parametrize("start", [{}, {"resourceVersion": "0"}], ids=["no version", "version 0"])
def test_a_watch_without_a_version_begins_with_what_there_is(send, kind, item, start):
    name = item["metadata"]["name"]
    events = send.watch(kind.path, events=1, fieldSelector=f"metadata.name={name}", **start)
    assert events == [("ADDED", item)]


def test_a_watch_from_a_version_shows_what_came_after_in_order(send, kind, item):
    name, version = item["metadata"]["name"], item["metadata"]["resourceVersion"]
    changed = change(send, kind, name, "two")
    send("DELETE", kind.at(name))
    events = send.watch(kind.path, events=2, fieldSelector=f"metadata.name={name}", resourceVersion=version)
    assert seen(events) == [("MODIFIED", name), ("DELETED", name)]
    assert events[0][1] == changed


def test_an_object_that_is_deleted_is_shown_as_it_was_with_a_new_version(send, kind, item):
    name, version = item["metadata"]["name"], item["metadata"]["resourceVersion"]
    send("DELETE", kind.at(name))
    ((_, last),) = send.watch(kind.path, events=1, fieldSelector=f"metadata.name={name}", resourceVersion=version)
    assert last[kind.field] == item[kind.field]
    assert int(last["metadata"]["resourceVersion"]) > int(version)


def test_a_watch_from_a_list_misses_nothing_and_repeats_nothing(send, kind, item):
    name = item["metadata"]["name"]
    start = send("GET", kind.path).body["metadata"]["resourceVersion"]
    change(send, kind, name, "two")
    events = send.watch(kind.path, events=1, fieldSelector=f"metadata.name={name}", resourceVersion=start)
    assert seen(events) == [("MODIFIED", name)]


def test_a_write_that_changes_nothing_is_not_seen(send, kind, item):
    name, version = item["metadata"]["name"], item["metadata"]["resourceVersion"]
    assert change(send, kind, name, "one")["metadata"]["resourceVersion"] == version
    change(send, kind, name, "two")
    ((_, first),) = send.watch(kind.path, events=1, fieldSelector=f"metadata.name={name}", resourceVersion=version)
    assert first[kind.field] == {"provider": "two"}


def test_a_watch_with_a_selector_sees_objects_enter_change_and_leave(send, kind, item):
    name, version = item["metadata"]["name"], item["metadata"]["resourceVersion"]
    label(send, kind, name, "yes")
    change(send, kind, name, "two")
    left = label(send, kind, name, "no")
    change(send, kind, name, "three")
    label(send, kind, name, "yes")
    events = send.watch(kind.path, events=4, labelSelector="in=yes", resourceVersion=version)
    assert seen(events) == [("ADDED", name), ("MODIFIED", name), ("DELETED", name), ("ADDED", name)]
    gone = events[2][1]
    assert gone["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]
    send("DELETE", kind.at(name))


def test_who_leaves_a_selector_is_shown_as_it_was_while_it_belonged(send, kind, item):
    """With the version of the change, and the labels of before it."""
    name, version = item["metadata"]["name"], item["metadata"]["resourceVersion"]
    label(send, kind, name, name)
    label(send, kind, name, "no")
    events = send.watch(kind.path, events=2, labelSelector=f"in={name}", resourceVersion=version)
    assert [(type_, found["metadata"]["labels"]) for type_, found in events] == [
        ("ADDED", {"in": name}),
        ("DELETED", {"in": name}),
    ]


def test_a_watch_of_one_namespace_does_not_see_others(send, name):
    """A ConfigMap of the same name is written in both, in the other one first."""
    other = PLAIN.path.replace("default", "kube-public")
    start = send("GET", PLAIN.path).body["metadata"]["resourceVersion"]
    send("POST", other, PLAIN.make(name))
    send("POST", PLAIN.path, PLAIN.make(name))
    ((_, found),) = send.watch(PLAIN.path, events=1, fieldSelector=f"metadata.name={name}", resourceVersion=start)
    assert found["metadata"]["namespace"] == "default"
    events = send.watch("/api/v1/configmaps", events=2, fieldSelector=f"metadata.name={name}", resourceVersion=start)
    assert [found["metadata"]["namespace"] for _, found in events] == ["kube-public", "default"]


def test_a_watch_from_before_all_that_is_remembered_is_told_410_expired(send):
    """In its first event: the answer itself is 200."""
    ((type_, status),) = send.watch(CUSTOM.path, events=1, resourceVersion="1")
    assert type_ == "ERROR"
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


def test_the_official_client_raises_that_as_410(send):
    api = kubernetes.client.CustomObjectsApi(send.api)
    stream = kubernetes.watch.Watch().stream(
        api.list_cluster_custom_object, "cluster.kubesphere.io", "v1alpha1", "clusters", resource_version="1"
    )
    with pytest.raises(kubernetes.client.ApiException) as raised:
        next(stream)
    assert raised.value.status == 410


def test_the_official_client_watches_typed_objects(send):
    api = kubernetes.client.CoreV1Api(send.api)
    stream = kubernetes.watch.Watch()
    events = stream.stream(api.list_namespace, field_selector="metadata.name=default", timeout_seconds=30)
    assert next(events)["object"].metadata.name == "default"
    stream.stop()


def test_a_watch_ends_by_itself_after_the_time_that_it_was_given(send):
    with send.open("GET", PLAIN.path, watch="true", timeoutSeconds="1", fieldSelector="metadata.name=none") as answer:
        assert (answer.status, answer.data) == (200, b"")


def test_who_would_take_bookmarks_sees_what_others_see(send, kind, item):
    """A bookmark comes after a minute at the earliest."""
    name, version = item["metadata"]["name"], item["metadata"]["resourceVersion"]
    change(send, kind, name, "two")
    query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": version, "allowWatchBookmarks": "true"}
    assert seen(send.watch(kind.path, events=1, **query)) == [("MODIFIED", name)]


def test_a_watch_takes_no_match_of_versions(send, kind):
    """Clients that would have a watch begin with a list learn by this that the server is too old for it."""
    query = {"watch": "true", "sendInitialEvents": "true", "allowWatchBookmarks": "true"}
    answer = send("GET", kind.path, resourceVersionMatch="NotOlderThan", **query)
    assert answer.refusal == (422, "Invalid")
    assert "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch" in answer.body["message"]


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"resourceVersion": "abc"}, 500, 'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": '),
        ({"timeoutSeconds": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"labelSelector": "a b"}, 400, "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt"),
    ],
    ids=["version", "seconds", "selector"],
)
def test_a_watch_that_cannot_be_understood_does_not_begin(send, kind, query, code, message):
    answer = send("GET", kind.path, watch="true", **query)
    assert answer.code == code
    assert answer.body["message"].startswith(message)


def test_a_kind_that_is_not_served_is_not_watched(send):
    answer = send("GET", "/apis/core.kubefed.io/v1beta1/kubefedclusters", watch="true")
    assert (answer.code, answer.body) == (404, "404 page not found\n")


@pytest.mark.parametrize("value", ["true", "1", "True"])
def test_a_watch_is_asked_for_with_any_word_for_true(send, item, kind, value):
    events = send.watch(kind.path, events=1, watch=value, fieldSelector=f"metadata.name={item['metadata']['name']}")
    assert events == [("ADDED", item)]


def test_a_single_object_is_not_watched_by_its_path_but_watch_is_no_error(send, kind, item):
    assert send("GET", kind.at(item["metadata"]["name"]), watch="false").body == item
