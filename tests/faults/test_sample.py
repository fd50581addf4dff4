"""A fixed sample of the scenes, and that the scenes are all there; `make faults` plays all of them."""

import collections

import pytest

from include.fleet import acceptance, causes, checks, conf
from tests.faults import play, scenes

SAMPLE = [
    pytest.param("the kubeconfig says lb.kubesphere.local", "direct", "v3.4.1", id="1-stopped"),
    pytest.param("only the host's pods see it", "direct", "v3.4.1", id="2-named"),
    pytest.param("the Service's port at the address of a node, waived", "proxy", "v3.0.0", id="5-named"),
    pytest.param("somebody changes the member's secret before the proof", "direct", "v3.4.1", id="7-named"),
    pytest.param("the member's clock is two minutes ahead", "proxy", "v3.0.0", id="9-stopped"),
    pytest.param("the member is a host itself", "direct", "v3.4.1", id="18-stopped"),
    pytest.param("a colleague imports it under another name meanwhile", "proxy", "v3.0.0", id="20-named"),
    pytest.param("a workspace is restored in the middle", "direct", "v3.4.1", id="21-named"),
    pytest.param("the port of another member is drawn", "proxy", "v3.4.1", id="36-survived"),
    pytest.param("the manifest of an earlier import is applied again", "proxy", "v3.4.1", id="37-named"),
    pytest.param("neither ks-controller-manager nor tower runs", "proxy", "v3.4.1", id="26-and-35-stopped"),
]


def place_of(words):
    """The place of a scene among all."""
    (place,) = [place for place, scene in enumerate(scenes.ALL_SCENES) if scene.words == words]
    return place


@pytest.mark.parametrize(("words", "way", "kubesphere"), SAMPLE)
def test_a_join_ends_as_expected(airflow_home, words, way, kubesphere):
    outcome = play.play(place_of(words), way, kubesphere)
    assert outcome.problem == "", outcome.said


def test_each_of_the_forty_failures_is_played_or_has_a_reason_why_not():
    played = {scene.number for scene in scenes.SCENES}
    assert set(scenes.TITLES) == set(range(1, 41))
    assert played.isdisjoint(scenes.NOT_YET)
    assert played | set(scenes.NOT_YET) == set(scenes.TITLES)


def test_each_failure_that_is_played_has_two_scenes_in_other_words():
    words = collections.defaultdict(set)
    for scene in scenes.SCENES:
        words[scene.number].add(scene.words)
    assert {number: found for number, found in words.items() if len(found) < 2} == {}


def test_no_two_scenes_have_the_same_words_for_the_same_failure():
    words = [(scene.number, scene.words) for scene in scenes.ALL_SCENES]
    assert len(words) == len(set(words))


def test_ten_scenes_combine_two_failures():
    assert len(scenes.COMBINED) >= 10
    for scene in scenes.COMBINED:
        assert scene.also in scenes.TITLES
        assert scene.also != scene.number
        assert len(scene.by) >= 2


def test_what_scenes_expect_exists():
    known_checks = {check.id for check in checks.CHECKS}
    known_causes = {cause.id for cause in causes.CAUSES}
    known = {
        scenes.End.STOPPED: known_checks | set(conf.SCHEMA),
        scenes.End.SURVIVED: known_checks | set(acceptance.CHECKS),
        scenes.End.NAMED: known_causes,
    }
    for scene in scenes.ALL_SCENES:
        assert set(scene.by) <= known[scene.end], scene.words
        assert set(scene.conf.get("waive", ())) <= known_checks
