"""Getting and listing: what is answered, which objects are chosen, and from when."""

import pytest

from tests.contract.conftest import CUSTOM, PLAIN

FUTURE = "99999999"


def test_an_object_is_returned_as_it_is_stored(send, kind, item):
    assert send("GET", kind.at(item["metadata"]["name"])).body == item


def test_what_is_not_there_is_404_not_found(send, kind):
    answer = send("GET", kind.at("none"))
    assert answer.refusal == (404, "NotFound")
    assert answer.body["message"] == f'{kind.plural} "none" not found'


def test_a_list_tells_its_kind_and_version_and_has_a_resource_version(send, kind, item):
    listed = send("GET", kind.path).body
    assert (listed["kind"], listed["apiVersion"]) == (f"{kind.kind}List", kind.api_version)
    assert int(listed["metadata"]["resourceVersion"]) >= int(item["metadata"]["resourceVersion"])


def test_items_of_a_list_name_their_kind_only_when_it_is_a_custom_one(send, kind, item):
    """Kubernetes' own lists leave it out, so that who needs it has to know it."""
    listed = send("GET", kind.path, fieldSelector=f"metadata.name={item['metadata']['name']}").body
    named = {"kind", "apiVersion"} if kind is CUSTOM else set()
    assert listed["items"][0].keys() & {"kind", "apiVersion"} == named
    assert listed["items"][0]["metadata"] == item["metadata"]


def test_a_namespace_without_objects_lists_none_whether_it_exists_or_not(send):
    answer = send("GET", "/api/v1/namespaces/absent/configmaps")
    assert (answer.code, answer.body["items"]) == (200, [])


def test_objects_of_all_namespaces_are_listed_together(send):
    namespaces = {found["metadata"]["namespace"] for found in send("GET", "/api/v1/configmaps").body["items"]}
    assert {"kube-system", "kubesphere-system"} <= namespaces


@pytest.fixture(scope="module")
def labelled(send):
    """Return the names of the objects that a query finds, of two with labels."""
    for kind in (PLAIN, CUSTOM):
        for name, labels in (("s1", {"tier": "a", "sel": "y"}), ("s2", {"tier": "b", "extra": "yes", "sel": "y"})):
            assert send("POST", kind.path, kind.make(name, labels=labels)).code == 201

    def find(kind, **query):
        return sorted(found["metadata"]["name"] for found in send("GET", kind.path, **query).body["items"])

    return find


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("tier=a", ["s1"]),
        ("tier==a", ["s1"]),
        ("sel", ["s1", "s2"]),
        ("tier in (a, b),!extra", ["s1"]),
        ("tier!=a,sel", ["s2"]),
        ("tier notin (a),extra=yes", ["s2"]),
        ("sel in (y),tier in ()", []),
        ("tier=", []),
    ],
)
def test_label_selectors_choose(labelled, kind, selector, names):
    assert labelled(kind, labelSelector=selector) == names


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=s2", ["s2"]),
        ("metadata.name==s2", ["s2"]),
        ("metadata.name=s1,metadata.name!=s2", ["s1"]),
        ("metadata.name=s1,metadata.name=s2", []),
    ],
)
def test_field_selectors_choose(labelled, kind, selector, names):
    assert labelled(kind, fieldSelector=selector) == names


def test_selectors_of_labels_and_fields_hold_together(labelled, kind):
    assert labelled(kind, labelSelector="sel", fieldSelector="metadata.name!=s1") == ["s2"]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("tier in a", "unable to parse requirement: found 'a' expected: '('"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("tier=a,", "found '', expected: identifier after ','"),
        ("tier=bad value", "found 'value', expected: ',' or 'end of string'"),
    ],
)
def test_a_label_selector_that_is_none_is_a_bad_request(send, kind, selector, message):
    answer = send("GET", kind.path, labelSelector=selector)
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == message


@pytest.mark.parametrize(
    ("path", "selector", "message"),
    [
        (PLAIN.path, "spec.x=1", '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("/api/v1/pods", "spec.x=1", "field label not supported: spec.x"),
        (CUSTOM.path, "spec.x=1", "field label not supported: spec.x"),
        (CUSTOM.path, "metadata.namespace=default", "field label not supported: metadata.namespace"),
        (CUSTOM.path, "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
    ],
    ids=["plain kind", "kind with fields", "custom kind", "custom kind without namespaces", "no value"],
)
def test_a_field_that_nothing_is_selected_by_is_a_bad_request(send, path, selector, message):
    answer = send("GET", path, fieldSelector=selector)
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == message


@pytest.mark.parametrize(
    ("path", "selector", "names"),
    [
        ("/api/v1/namespaces/default/secrets", "type=example.com/fields", ["fields"]),
        ("/api/v1/namespaces/default/secrets", "type!=example.com/fields,metadata.name=fields", []),
        ("/api/v1/namespaces", "status.phase=Active,metadata.name=default", ["default"]),
        ("/api/v1/namespaces/default/events", "involvedObject.kind=Thing,involvedObject.name=fields", ["fields"]),
    ],
    ids=["secrets", "secrets unlike", "namespaces", "events"],
)
def test_some_kinds_are_selected_by_fields_of_their_own(send, path, selector, names):
    send("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "fields"}, "type": "example.com/fields"})
    event = {
        "involvedObject": {"kind": "Thing", "name": "fields", "namespace": "default"},
        "metadata": {"name": "fields"},
    }
    send("POST", "/api/v1/namespaces/default/events", event)
    assert [found["metadata"]["name"] for found in send("GET", path, fieldSelector=selector).body["items"]] == names


def test_a_list_comes_in_pieces_when_it_is_limited(send, kind, labelled):
    """The last may be empty: whether more is chosen shows when it is looked for."""
    pieces, more = [], {}
    while more is not None:
        piece = send("GET", kind.path, labelSelector="sel", limit="1", **more).body
        pieces.append(piece)
        more = {"continue": piece["metadata"]["continue"]} if piece["metadata"].get("continue") else None
    names = [[found["metadata"]["name"] for found in piece["items"]] for piece in pieces]
    assert [each for each in names if each] == [["s1"], ["s2"]]
    assert len({piece["metadata"]["resourceVersion"] for piece in pieces}) == 1


def test_the_pieces_of_a_list_are_of_one_moment(send, kind, name):
    """What is changed or deleted meanwhile is in the rest as it was."""
    for number in range(3):
        send("POST", kind.path, kind.make(f"{name}-{number}", labels={"list": name}))
    query = {"labelSelector": f"list={name}", "limit": "1"}
    first = send("GET", kind.path, **query).body
    send("DELETE", kind.at(f"{name}-1"))
    send("POST", kind.path, kind.make(f"{name}-11", labels={"list": name}))
    del query["limit"]
    rest = send("GET", kind.path, **query, **{"continue": first["metadata"]["continue"]}).body
    assert [found["metadata"]["name"] for found in rest["items"]] == [f"{name}-1", f"{name}-2"]


def test_a_limited_list_tells_how_many_remain_unless_they_were_chosen(send, kind, labelled):
    assert send("GET", kind.path, limit="1").body["metadata"]["remainingItemCount"] > 0
    assert "remainingItemCount" not in send("GET", kind.path, labelSelector="sel", limit="1").body["metadata"]


def test_a_list_that_is_continued_with_nonsense_is_a_bad_request(send, kind):
    answer = send("GET", kind.path, limit="1", **{"continue": "nonsense"})
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"].startswith("invalid continue token: continue key is not valid: ")


def test_a_list_may_be_of_an_earlier_moment(send, kind, item):
    name = item["metadata"]["name"]
    send("DELETE", kind.at(name))
    past = {"resourceVersion": item["metadata"]["resourceVersion"], "resourceVersionMatch": "Exact"}
    listed = send("GET", kind.path, fieldSelector=f"metadata.name={name}", **past).body
    assert [found["metadata"]["name"] for found in listed["items"]] == [name]
    assert listed["metadata"]["resourceVersion"] == item["metadata"]["resourceVersion"]


def test_a_list_that_is_not_older_than_a_version_has_what_was_written_with_it(send, kind, item):
    version = item["metadata"]["resourceVersion"]
    listed = send("GET", kind.path, resourceVersion=version, resourceVersionMatch="NotOlderThan").body
    assert item["metadata"]["name"] in [found["metadata"]["name"] for found in listed["items"]]


def test_a_match_needs_a_version_to_match(send, kind):
    answer = send("GET", kind.path, resourceVersionMatch="Exact")
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == (
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden '
        "unless resourceVersion is provided"
    )


@pytest.mark.parametrize("single", [False, True], ids=["list", "get"])
def test_a_version_that_is_yet_to_come_is_504(send, kind, item, single):
    path = kind.at(item["metadata"]["name"]) if single else kind.path
    answer = send("GET", path, resourceVersion=FUTURE)
    assert answer.refusal == (504, "Timeout")
    assert answer.body["message"].startswith(f"Timeout: Too large resource version: {FUTURE}, current: ")


@pytest.mark.parametrize("single", [False, True], ids=["list", "get"])
def test_a_version_that_is_none_is_an_error_of_the_server(send, kind, item, single):
    path = kind.at(item["metadata"]["name"]) if single else kind.path
    answer = send("GET", path, resourceVersion="abc")
    assert answer.refusal == (500, None)
    assert answer.body["message"] == (
        'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax'
    )


@pytest.mark.parametrize("option", ["limit", "timeoutSeconds"])
def test_a_number_that_is_none_is_a_bad_request(send, kind, option):
    answer = send("GET", kind.path, **{option: "x"})
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == 'strconv.ParseInt: parsing "x": invalid syntax'
