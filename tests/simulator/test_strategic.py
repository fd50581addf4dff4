"""Strategic merge patches as kubectl makes them: keyed lists, sets and directives."""

import pytest

from include.simulator import status, strategic

CONTAINERS = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}


@pytest.mark.parametrize(
    ("patch", "names"),
    [
        ({"containers": [{"name": "d"}]}, "abcd"),
        ({"containers": [{"name": "b", "$patch": "delete"}]}, "ac"),
        ({"containers": [{"$patch": "replace"}, {"name": "z"}]}, "z"),
        ({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}]}, "cab"),
        (
            {
                "$setElementOrder/containers": [{"name": "d"}, {"name": "a"}],
                "containers": [{"name": "d"}, {"name": "b", "$patch": "delete"}],
            },
            "dac",
        ),
        ({"$setElementOrder/containers": [{"name": "c"}]}, "abc"),
        ({"containers": None, "$setElementOrder/containers": []}, ""),
    ],
    ids=["added", "deleted", "replaced", "ordered", "all at once", "partly ordered", "removed"],
)
def test_a_list_with_a_key_is_merged(patch, names):
    merged = strategic.merge(CONTAINERS, patch=patch)
    assert "".join(entry["name"] for entry in merged.get("containers", [])) == names
    assert [entry["name"] for entry in CONTAINERS["containers"]] == ["a", "b", "c"]


def test_entries_of_a_list_are_merged_field_by_field():
    merged = strategic.merge(CONTAINERS, patch={"containers": [{"name": "b", "image": None, "tty": True}]})
    assert merged["containers"][1] == {"name": "b", "tty": True}


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ([{"containerPort": 1}], {"containerPort": 2}, [{"containerPort": 1}, {"containerPort": 2}]),
        ([{"port": 1, "name": "a"}], {"port": 1, "name": "b"}, [{"port": 1, "name": "b"}]),
        (
            [{"port": 1, "targetPort": 5}],
            {"port": 2, "targetPort": 5},
            [{"port": 1, "targetPort": 5}, {"port": 2, "targetPort": 5}],
        ),
    ],
    ids=["of a container", "of a Service", "of a Service, another"],
)
def test_ports_have_the_key_of_their_kind(target, patch, merged):
    assert strategic.merge({"ports": target}, patch={"ports": [patch]}) == {"ports": merged}


def test_finalizers_are_a_set():
    patch = {"finalizers": ["b", "c"], "$deleteFromPrimitiveList/finalizers": ["a"]}
    assert strategic.merge({"finalizers": ["a", "b"]}, patch=patch) == {"finalizers": ["b", "c"]}
    ordered = {"$setElementOrder/finalizers": ["b", "a"]}
    assert strategic.merge({"finalizers": ["a", "b"]}, patch=ordered) == {"finalizers": ["b", "a"]}


def test_a_list_without_a_key_is_replaced():
    assert strategic.merge({"args": ["a", "b"]}, patch={"args": ["c"]}) == {"args": ["c"]}


def test_a_map_can_be_replaced_emptied_or_kept_in_part():
    target = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    replaced = {"strategy": {"$patch": "replace", "type": "Recreate"}}
    kept = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert strategic.merge(target, patch=replaced) == {"strategy": {"type": "Recreate"}}
    assert strategic.merge(target, patch=kept) == {"strategy": {"type": "Recreate"}}
    assert strategic.merge(target, patch={"strategy": {"$patch": "delete"}}) == {"strategy": {}}


@pytest.mark.parametrize(
    ("patch", "code"),
    [({"$patch": "turn"}, 400), ({"$unknown/containers": []}, 400), ({"containers": [{"image": "x"}]}, 500)],
    ids=["unknown action", "unknown directive", "no key"],
)
def test_a_patch_that_cannot_be_understood_is_refused(patch, code):
    with pytest.raises(status.ApiError) as raised:
        strategic.merge(CONTAINERS, patch=patch)
    assert raised.value.code == code
