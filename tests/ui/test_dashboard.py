"""The dashboard and the documented alerts: they ask for metrics that there are, and belong to no one's Grafana."""

import datetime
import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import parser

from include.fleet_ui import metrics
from tests.ui import fleets

ROOT = Path(__file__).parents[2]
NAME = r"\bkubesphere_fleet_\w+"


@pytest.fixture(scope="module")
def board():
    return json.loads((ROOT / "deploy" / "grafana" / "fleet.json").read_text())


@pytest.fixture(scope="module")
def documented():
    return (ROOT / "docs" / "fleet.md").read_text()


@pytest.fixture(scope="module")
def exported():
    """The labels of all samples that there can be, by name."""
    durations = [metrics.Durations("preflight", [1] * len(metrics.BUCKETS), 1, 0.5)]
    now = datetime.datetime.now(datetime.UTC)
    text = metrics.text(fleets.mixed(), durations=durations, repairs=[], now=now).decode()
    families = parser.text_string_to_metric_families(text)
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def questions(board):
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def alerts(documented):
    rules = re.search(r"```yaml\n# rules\n(.*?)```", documented, re.DOTALL).group(1)
    return [rule for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]


def test_the_dashboard_and_the_alerts_ask_for_metrics_that_there_are(board, documented, exported):
    asked = [*questions(board), *(rule["expr"] for rule in alerts(documented))]
    assert len(asked) > 10
    for question in asked:
        names = re.findall(NAME, question)
        assert names, question
        assert set(names) <= set(exported), question


def test_the_dashboard_asks_for_labels_that_they_have(board, exported):
    for question in questions(board):
        (name, *_) = re.findall(NAME, question)
        asked = set(re.findall(r"(\w+)=~?\"", question))
        asked |= {label for labels in re.findall(r"by \((.*?)\)", question) for label in labels.split(", ")}
        assert asked <= exported[name], question


def test_every_metric_is_documented_and_none_that_there_is_not(documented, exported):
    table = re.search(r"\| metric, after `kubesphere_fleet_` \|.*?\n\n", documented, re.DOTALL).group(0)
    rows = [line.split("|")[1] for line in table.splitlines()[2:] if line]
    named = {f"kubesphere_fleet_{name}" for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {re.sub("_(bucket|sum|count)$", "", name) for name in exported}


def test_no_panel_is_there_twice_or_lies_on_another(board):
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_data_source_is_whichever_the_reader_picks(board):
    text = json.dumps(board)
    assert set(re.findall(r'"datasource": \{"type": "(\w+)", "uid": "(.*?)"\}', text)) == {
        ("prometheus", "${datasource}")
    }
    assert text.count('"datasource": {') == len(re.findall(r'"datasource": ', text))
    assert [each["name"] for each in board["templating"]["list"]] == ["datasource", "host"]


def test_the_alerts_say_what_has_happened_with_what_their_metric_has(documented, exported):
    for rule in alerts(documented):
        (name, *_) = re.findall(NAME, rule["expr"])
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= exported[name]
