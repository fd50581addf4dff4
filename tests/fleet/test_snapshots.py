import dataclasses

import pytest

from include.fleet import kubesphere, manifests, snapshots

OWN, HOSTS, CHOSEN = "own0secret", "hosts0secret", "chosen0secret"


def side(*, role="none", jwt_secret="", in_force=OWN, **fields):
    defaults = {
        "address": None,
        "met": True,
        "kept": None,
        "there": {},
        "labelled": None,
        "sections": {"configuration": {"a": "1", "b": "2"}},
    }
    return snapshots.Side(role=role, jwt_secret=jwt_secret, in_force=in_force, **{**defaults, **fields})


def configuration(role, secret):
    return {"spec": {"multicluster": {"clusterRole": role}, "authentication": {"jwtSecret": secret}}}


def spec(role=None, secret=None):
    found = {} if role is None else {"multicluster": {"clusterRole": role}}
    return {"spec": found | ({} if secret is None else {"authentication": {"jwtSecret": secret}})}


@pytest.mark.parametrize(
    ("before", "now", "patch", "left"),
    [
        pytest.param(side(), ("member", HOSTS), spec("none", OWN), ["names the one that was in force"], id="joined"),
        pytest.param(side(), ("none", OWN), {}, ["names the one that was in force"], id="rolled-back-already"),
        pytest.param(side(), ("none", ""), {}, [], id="untouched"),
        pytest.param(side(role=None, jwt_secret=None), ("member", HOSTS), spec("none", OWN), ["names"], id="no-keys"),
        pytest.param(side(jwt_secret=CHOSEN), ("member", HOSTS), spec("none", CHOSEN), [], id="named-before"),
        pytest.param(side(in_force=HOSTS), ("member", HOSTS), spec("none", ""), [], id="the-hosts-was-in-force"),
        pytest.param(side(role="member", jwt_secret=HOSTS), ("member", HOSTS), {}, [], id="was-a-member"),
        pytest.param(side(), ("member", CHOSEN), spec("none"), ["somebody else"], id="somebody-elses-secret"),
        pytest.param(
            side(), ("host", HOSTS), spec(secret=OWN), ["The role", "names the one"], id="somebody-elses-role"
        ),
        pytest.param(side(in_force=""), ("member", HOSTS), spec("none"), ["is not known"], id="nothing-known"),
    ],
)
def test_role_and_secret_are_brought_back_in_one_patch(before, now, patch, left):
    found, said = snapshots.restoring_role_and_secret(configuration(*now), before, secrets={HOSTS})
    assert found == patch
    assert len(said) == len(left)
    assert all(words in sentence for words, sentence in zip(left, said, strict=True))
    assert not any(secret in sentence for secret in (OWN, HOSTS, CHOSEN) for sentence in said)


def test_the_patch_that_restores_takes_out_what_is_new():
    now = {"a": 1, "b": {"c": 2, "d": [1]}, "e": 5}
    before = {"a": 1, "b": {"c": 3}}
    assert snapshots.restoring(now, before) == {"b": {"c": 3, "d": None}, "e": None}
    assert snapshots.restoring(before, before) == {}


WANTED = manifests.cluster_manifest(
    "m1",
    uid="uid-1",
    kubeconfig="new",
    kubesphere_api_endpoint=None,
    provider="here",
    group="production",
    labels={},
    description=None,
)


def existing(*, kubeconfig="b2xk", provider="there", labels=None, annotations=None):
    connection = {"type": "direct", "kubeconfig": kubeconfig}
    return {
        "metadata": {"name": "m1", "labels": labels or {}, "annotations": annotations or {}},
        "spec": {"joinFederation": True, "enable": True, "provider": provider, "connection": connection},
    }


def test_of_a_cluster_that_was_there_what_the_join_has_changed_is_brought_back():
    connection = WANTED["spec"]["connection"]
    now = existing(
        kubeconfig=connection["kubeconfig"],
        provider="here",
        labels={"cluster.kubesphere.io/group": "production", "another": "label"},
        annotations={"join-member-cluster/member-uid": "uid-1"},
    )
    patch, left = snapshots.restoring_cluster(now, existing(), wanted=WANTED)
    assert patch == {
        "metadata": {
            "annotations": {"join-member-cluster/member-uid": None},
            "labels": {"cluster.kubesphere.io/group": None},
        },
        "spec": {"provider": "there", "connection": {"kubeconfig": "b2xk"}},
    }
    assert left == []


def test_of_a_cluster_that_was_there_what_somebody_else_has_changed_stays_and_is_said():
    patch, left = snapshots.restoring_cluster(existing(provider="elsewhere"), existing(), wanted=WANTED)
    assert patch == {}
    assert left == ["spec.provider of Cluster m1 stays: somebody else has changed it since."]


def test_differences_name_what_is_new_gone_or_another_and_leave_out_what_could_not_be_seen():
    now = side(sections={"configuration": {"a": "9", "c": "3"}, "namespaces": None})
    before = side(sections={"configuration": {"a": "1", "b": "2"}, "namespaces": {"shop": ""}})
    assert snapshots.differences(before.sections, now.sections, where="host") == [
        "a on the host is another",
        "b on the host is gone",
        "c on the host is new",
    ]


def test_an_empty_secret_is_compared_as_the_one_in_force():
    named = snapshots.of_configuration(configuration("none", OWN), in_force=OWN)
    assert named == snapshots.of_configuration(configuration("none", ""), in_force=OWN)
    assert named != snapshots.of_configuration(configuration("none", HOSTS), in_force=HOSTS)


def test_a_record_comes_back_from_its_text_and_does_not_show_its_secrets():
    record = snapshots.Record(run="r", cluster="m1", host=side(), member=side(jwt_secret=CHOSEN, kept={"token": HOSTS}))
    assert snapshots.load(record.dump()) == record
    assert not any(secret in repr(record) for secret in (OWN, HOSTS, CHOSEN))
    assert dataclasses.is_dataclass(snapshots.load(record.dump()).host)


def test_what_kubefed_has_not_labelled_is_left_alone():
    plain = {"metadata": {"labels": {"kubesphere.io/workspace": "shop"}}}
    managed = {"metadata": {"labels": {"kubefed.io/managed": "true", "kubesphere.io/workspace": "other"}}}
    before = snapshots.labels_of(plain)
    assert snapshots.restoring_labels(before, plain) == {}
    assert snapshots.restoring_labels(before, {"metadata": {"labels": {"kubesphere.io/workspace": "another"}}}) == {}
    assert snapshots.restoring_labels(before, managed) == {
        "metadata": {"labels": {"kubefed.io/managed": None, "kubesphere.io/workspace": "shop"}}
    }
    assert snapshots.restoring_labels(snapshots.labels_of(managed), managed) == {}


def test_what_the_hosts_controller_adds_to_the_file_in_force_is_no_difference():
    def config(**fields):
        known = {"jwt_secret": OWN, "role": "host", "cluster_name": "", "host_cluster_name": "host", "resync": None}
        return kubesphere.Config(**{**known, "proxy_publish_address": "", "agent_image": "", **fields})

    rewritten = snapshots.of_config(config(token_age="0s", cluster_name="host"))
    assert rewritten == snapshots.of_config(config())
    assert rewritten != snapshots.of_config(config(token_age="2h"))
    assert snapshots.of_config(config(role="none", token_age="0s")) != snapshots.of_config(config(role="none"))
