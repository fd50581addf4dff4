"""The host's webhook for Clusters while it is set aside: it overlooks one, guards all others, and is put back."""

import asyncio
import base64
import json

import pytest

from include.fleet import clusters, errors, journal, kinds, settings, webhook
from include.simulator import status
from include.simulator.disturbances import Disturbance, Reset
from tests.chaos import cases
from tests.joins import evidence
from tests.leaves import leaving

MEMBERS = {
    "member": {"role": "member", "secret": "host", "joined": "m1"},
    "members": [{"name": "m2", "role": "member", "secret": "host", "joined": "m2"}],
}
DEAD = kinds.Ref(kinds.CLUSTER, "m1")
LABELLED = {"metadata": {"labels": {"tried": "yes"}}}
NO_KUBECONFIG = {"spec": {"connection": {"kubeconfig": base64.b64encode(b"none").decode()}}}


@pytest.fixture
def stage(stage_of):
    """A host with two members, of which m1 is dead."""
    stage = stage_of(**MEMBERS)
    host = stage.simulation.clusters["host"]
    evidence.wait_for(lambda: all(evidence.is_ready(host.object("clusters", name)) for name in ("m1", "m2")))
    leaving.kill_member(stage)
    return stage


@pytest.fixture
def do(stage):
    """Call a function of the module with the host, and return what it returns and what it has noted."""

    def call(function, *args, **options):
        noted = journal.Journal()

        async def connected():
            async with clusters.connect("host", role="host", limits=settings.Settings()) as host:
                more = {"changes": noted} if function in (webhook.set_aside, webhook.put_back) else {}
                return await function(host, *args, **options, **more)

        return asyncio.run(connected()), noted.notes

    return call


def denied(stage, name, patch):
    """Tell whether the webhook denies a change of a Cluster."""
    try:
        stage.simulation.clusters["host"].edit("clusters", name, patch)
    except status.ApiError as error:
        return "denied the request" in str(error)
    return False


def test_it_overlooks_the_one_cluster_and_guards_all_others(stage, do):
    before = leaving.webhook_of(stage)
    assert "dial tcp" in do(webhook.denies, DEAD)[0]
    assert do(webhook.set_aside, DEAD)[1] == [f"{webhook.CONFIGURATION} on the host set aside for clusters/m1 alone"]
    assert do(webhook.is_aside)[0]
    assert not denied(stage, "m1", LABELLED)
    assert do(webhook.denies, DEAD)[0] == ""
    assert not denied(stage, "m2", LABELLED), "m2 answers, and has its own kubeconfig"
    assert denied(stage, "m2", NO_KUBECONFIG)
    assert denied(stage, "m1", {"metadata": {"labels": {webhook.LEAVING: None}}})
    do(webhook.put_back)
    assert leaving.webhook_of(stage) == before
    assert denied(stage, "m1", {"metadata": {"labels": {"tried": "again"}}})


def test_what_is_set_aside_or_put_back_already_is_written_no_more(stage, do):
    do(webhook.set_aside, DEAD)
    written = leaving.written(stage)["host"]
    do(webhook.set_aside, DEAD)
    assert leaving.written(stage)["host"] == written
    do(webhook.put_back)
    written = leaving.written(stage)["host"]
    assert do(webhook.put_back) == (None, [])
    assert leaving.written(stage)["host"] == written


def test_what_ks_installer_changes_meanwhile_stays(stage, do):
    """Each of its runs makes a new certificate (kubesphere-facts 2.3)."""
    do(webhook.set_aside, DEAD)
    host = stage.simulation.clusters["host"]
    (hook,) = host.object(*leaving.WEBHOOK)["webhooks"]
    newer = {**hook, "clientConfig": {**hook["clientConfig"], "caBundle": "bmV3"}}
    another = {**hook, "name": "another.kubesphere.io", "objectSelector": {"matchLabels": {"a": "b"}}}
    host.edit(*leaving.WEBHOOK, {"webhooks": [newer, another]})
    do(webhook.put_back)
    item = host.object(*leaving.WEBHOOK)
    assert item["webhooks"] == [{**newer, "objectSelector": {}}, another]
    assert webhook.FORMER not in json.dumps(item)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["nobody-guarded", "labelled", "others-guarded"])
def test_cut_off_at_any_write_and_begun_again_it_ends_the_same(stage, do, number):
    before = leaving.webhook_of(stage)
    cut = Disturbance(
        matches=lambda call: cases.mine(call) and call.verb == "patch",
        skip=number,
        kind=Reset(moment=cases.MOMENTS["before the answer"]),
    )
    stage.simulation.clusters["host"].disturb(cut)
    with pytest.raises(errors.UnreachableError):
        do(webhook.set_aside, DEAD)
    do(webhook.set_aside, DEAD)
    assert not denied(stage, "m1", LABELLED)
    assert denied(stage, "m2", NO_KUBECONFIG)
    do(webhook.put_back)
    assert leaving.webhook_of(stage) == before
