"""The inventory of a fleet: what is taken, what it comes to, and how every problem is told with its line."""

import datetime
import json
import re
import time
import zoneinfo
from pathlib import Path

import jsonschema
import pytest

from include.fleet import conf, documents, errors, inventory, inventory_schema
from tests.fleet import inventory_page

ROOT = Path(__file__).parents[2]

FLEET = """\
version: 1
defaults:
  on_failure: rollback
  labels: {fleet: all, site: unknown}
hosts:
  - name: europe
    host_conn_id: ks_host
    console: https://console.example.com
    max_joins: 2
    prune: true
    windows: [{days: [sat, sun], start: "01:00", end: "05:00", zone: Europe/Berlin}]
    defaults: {connection: proxy, agent_image: registry.example.com/tower, on_failure: keep}
    members:
      - cluster: m1
        member_conn_id: m1
        connection: direct
      - cluster: m2
        member_conn_id: m2
        labels: {site: berlin}
        paused: true
  - name: asia
    host_conn_id: ks_asia
    paused: true
    members:
      - cluster: m1
        member_conn_id: asia-m1
"""


def host(*lines, members=("cluster: m1", "member_conn_id: m1")):
    """An inventory of one host, with further lines in the host and these of its only member; the latter begin last."""
    text = "version: 1\nhosts:\n  - name: europe\n    host_conn_id: ks_host\n"
    text += "".join(f"    {line}\n" for line in lines)
    return text + "    members:\n      - " + "\n        ".join(members) + "\n"


def member(*lines):
    """An inventory of one member with further lines, of which the first is line 8."""
    return host(members=("cluster: m1", "member_conn_id: m1", *lines))


def problems(text):
    """What is wrong with an inventory, as (line, path, sentence)."""
    with pytest.raises(inventory.InventoryError) as raised:
        inventory.load(text)
    return [(problem.line, problem.path, problem.sentence) for problem in raised.value.problems]


def test_a_member_has_the_files_defaults_then_its_hosts_then_its_own_keys():
    europe, asia = inventory.load(FLEET).hosts
    assert europe.members[1].conf == {
        "cluster": "m2",
        "host_conn_id": "ks_host",
        "member_conn_id": "m2",
        "connection": "proxy",
        "agent_image": "registry.example.com/tower",
        "on_failure": "keep",
        "labels": {"fleet": "all", "site": "berlin"},
    }
    assert asia.members[0].conf["on_failure"] == "rollback"


def test_a_default_that_a_members_connection_type_does_not_use_is_left_out_for_it():
    direct = inventory.load(FLEET).hosts[0].members[0].conf
    assert direct["connection"] == "direct"
    assert "agent_image" not in direct


def test_a_members_conf_is_one_that_a_join_takes():
    for each in inventory.load(FLEET).hosts:
        for member in each.members:
            assert conf.problems(member.conf) == []
            assert json.loads(json.dumps(member.conf)) == member.conf


def test_a_host_has_what_the_file_says_and_defaults_where_it_is_silent():
    europe, asia = inventory.load(FLEET).hosts
    window = inventory.Window(("sat", "sun"), datetime.time(1), datetime.time(5), "Europe/Berlin")
    assert (europe.name, europe.conn_id, europe.console) == ("europe", "ks_host", "https://console.example.com")
    assert (europe.max_joins, europe.prune, europe.paused, europe.windows) == (2, True, False, (window,))
    assert (asia.console, asia.max_joins, asia.prune, asia.windows) == (None, 4, False, ())


def test_a_member_is_paused_by_itself_or_with_its_host():
    europe, asia = inventory.load(FLEET).hosts
    assert [each.paused for each in (*europe.members, *asia.members)] == [False, True, True]


def test_hosts_and_members_know_their_lines():
    europe, asia = inventory.load(FLEET).hosts
    assert [europe.line, asia.line] == [6, 21]
    assert [each.line for each in (*europe.members, *asia.members)] == [14, 17, 25]


def test_anchors_aliases_and_merge_keys_are_taken():
    text = host(
        members=(
            "&first",
            "  cluster: m1",
            "  member_conn_id: m1",
            "  labels: &labels {a: b}",
            "  provider: here",
        )
    )
    text += "      - <<: *first\n        cluster: m2\n        member_conn_id: m2\n        labels: *labels\n"
    one, two = inventory.load(text).hosts[0].members
    assert two.conf == {**one.conf, "cluster": "m2", "member_conn_id": "m2"}


def test_text_that_yaml_1_1_takes_for_something_else_is_text():
    """Editors see YAML 1.2, and so does JSON Schema."""
    text = member("provider: no", "group: on", "description: 10:30", "labels: {day: 2026-01-31, hex: 0x1F}")
    made = inventory.load(text).hosts[0].members[0].conf
    assert (made["provider"], made["group"], made["description"]) == ("no", "on", "10:30")
    assert made["labels"] == {"day": "2026-01-31", "hex": "0x1F"}


@pytest.mark.parametrize(
    ("text", "line", "path", "says"),
    [
        pytest.param("", 1, "", "expected keys and values, got None", id="empty-file"),
        pytest.param("version: 1\nhosts:\n  - [\n", 4, "", "not YAML: ", id="syntax"),
        pytest.param("version: 1\nhosts: []\nx: a: b\n", 3, "", "not YAML: ", id="syntax-2"),
        pytest.param("version: 1\nhosts: []\nx: \x07\n", 3, "", "may not be there", id="control-character"),
        pytest.param("version: 1\nhosts: []\n---\nversion: 1\n", 3, "", "second document", id="two-documents"),
        pytest.param("hosts: []\n", 1, "version", "missing; expected 1", id="version-missing"),
        pytest.param("version: 2\nhosts: []\n", 1, "version", "expected 1, got 2", id="version-of-the-future"),
        pytest.param("version: 1\n", 1, "hosts", "missing; expected a list", id="hosts-missing"),
        pytest.param("version: 1\nhosts: {a: b}\n", 2, "hosts", "expected a list, got", id="hosts-are-a-list"),
        pytest.param("version: 1\nhosts: [a]\n", 2, "hosts[0]", "expected keys and values", id="a-host-is-a-mapping"),
        pytest.param("version: 1\nhosts: []\nhsots: []\n", 3, "hsots", "did you mean hosts?", id="unknown-at-the-top"),
        pytest.param("version: 1\nhosts: []\nversion: 1\n", 3, "version", "first in line 1", id="key-twice"),
        pytest.param("version: 1\nhosts: []\n1: 1\n", 3, "", "put it in quotes", id="key-is-a-number"),
        pytest.param("version: !!omap []\nhosts: []\n", 1, "version", "tag:yaml.org,2002:omap means nothing", id="tag"),
        pytest.param(
            "version: 1\nhosts: &a [*a]\n", 2, "hosts[0]", "*a is an alias of what it stands in", id="alias-of-itself"
        ),
        pytest.param("version: 1\nhosts: [*a]\n", 2, "hosts[0]", "*a is an alias of nothing", id="alias-of-nothing"),
        pytest.param("version: 1\nhosts: []\n<<: [1]\n", 3, "", "<<: expected a mapping", id="merge-of-no-mapping"),
        pytest.param(host("console: http://a.b"), 5, "hosts[0].console", "https://ADDRESS", id="console-without-tls"),
        pytest.param(host("max_joins: 0"), 5, "hosts[0].max_joins", "from 1 to 32", id="no-joins"),
        pytest.param(host("max_joins: true"), 5, "hosts[0].max_joins", "got True", id="number-that-is-none"),
        pytest.param(host("prune: yes"), 5, "hosts[0].prune", "true or false, got 'yes'", id="yes-is-a-text"),
        pytest.param(host("pruned: 1"), 5, "hosts[0].pruned", "did you mean prune?", id="unknown-in-a-host"),
        pytest.param(host("colour: 1"), 5, "hosts[0].colour", "known are name, host_conn_id", id="unknown-and-far"),
        pytest.param(
            host("defaults:", "  cluster: m1"), 6, "hosts[0].defaults.cluster", "of one member", id="own-key-as-default"
        ),
        pytest.param(
            host("defaults: {group: a b}"), 5, "hosts[0].defaults.group", "label value", id="default-told-where-it-is"
        ),
        pytest.param(
            host("windows:", '  - {start: "1:00", end: "05:00"}'), 6, "hosts[0].windows[0].start", "HH:MM", id="time"
        ),
        pytest.param(host('windows: [{start: "01:00"}]'), 5, "hosts[0].windows[0].end", "missing", id="window-end"),
        pytest.param(
            host('windows: [{days: [sat, so], start: "01:00", end: "02:00"}]'),
            5,
            "hosts[0].windows[0].days[1]",
            "mon, tue",
            id="day",
        ),
        pytest.param(
            host('windows: [{days: [sat, sat], start: "01:00", end: "02:00"}]'),
            5,
            "hosts[0].windows[0].days",
            "each once",
            id="day-twice",
        ),
        pytest.param(
            host('windows: [{start: "01:00", end: "02:00", zone: Europe/Berln}]'),
            5,
            "hosts[0].windows[0].zone",
            "no time zone 'Europe/Berln'",
            id="zone",
        ),
        pytest.param(
            host('windows: [{start: "01:00", end: "02:00", zone: ../UTC}]'),
            5,
            "hosts[0].windows[0].zone",
            "no time zone",
            id="zone-that-is-a-path",
        ),
        pytest.param(
            member("conection: proxy"), 8, "hosts[0].members[0].conection", "did you mean connection?", id="typo"
        ),
        pytest.param(member("connection: vpn"), 8, "hosts[0].members[0].connection", "got 'vpn'", id="wrong-value"),
        pytest.param(member("ready_timeout: soon"), 8, "hosts[0].members[0].ready_timeout", "seconds", id="wrong-type"),
        pytest.param(
            member("provider: 5"), 8, "hosts[0].members[0].provider", "got 5; put it in quotes", id="number-for-a-text"
        ),
        pytest.param(
            member("labels:", "  site: 5"), 9, "hosts[0].members[0].labels.site", "got 5", id="number-for-a-label"
        ),
        pytest.param(
            member("labels:", "  kubesphere.io/managed: x"),
            9,
            "hosts[0].members[0].labels.kubesphere.io/managed",
            "none of kubesphere.io",
            id="label-of-kubesphere",
        ),
        pytest.param(
            member("agent_image: x"), 8, "hosts[0].members[0].agent_image", "a direct connection does not", id="unused"
        ),
        pytest.param(
            host(
                "defaults: {connection: proxy}",
                members=("cluster: m1", "member_conn_id: m1", "member_server: https://a"),
            ),
            9,
            "hosts[0].members[0].member_server",
            "a proxy connection does not",
            id="unused-by-the-default-type",
        ),
        *(
            pytest.param(
                member(f"{key}: {value}"), 8, f"hosts[0].members[0].{key}", "not in an inventory: joins that", id=key
            )
            for key, value in {
                "preflight_only": "true",
                "plan_only": "true",
                "approve": "true",
                "approve_timeout": 1,
            }.items()
        ),
        pytest.param(
            member("host_conn_id: a"), 8, "hosts[0].members[0].host_conn_id", "it is the host's", id="host-in-a-member"
        ),
        pytest.param(host(members=("cluster: m1",)), 6, "hosts[0].members[0].member_conn_id", "missing", id="missing"),
        pytest.param(
            host(members=("cluster: host", "member_conn_id: m1")),
            6,
            "hosts[0].members[0].cluster",
            "not 'host'",
            id="name",
        ),
        pytest.param(
            host(members=("cluster: m1", "member_conn_id: ks_host")),
            7,
            "hosts[0].members[0].member_conn_id",
            "own member",
            id="host-as-its-own-member",
        ),
        pytest.param(
            f"{host()}  - name: asia\n    host_conn_id: m1\n",
            7,
            "hosts[0].members[0].member_conn_id",
            "'m1' is the connection of a host, in line 9",
            id="host-as-anothers-member",
        ),
        pytest.param(
            f"{member('import_conn_id: asia')}  - name: asia\n    host_conn_id: asia\n",
            8,
            "hosts[0].members[0].import_conn_id",
            "'asia' is the connection of a host, in line 10",
            id="host-imported-as-a-member",
        ),
        pytest.param(
            f"{host()}  - name: asia\n    host_conn_id: ks_host\n",
            9,
            "hosts[1].host_conn_id",
            "another host's already, in line 4",
            id="two-hosts-with-one-connection",
        ),
        pytest.param(
            f"{host()}  - name: europe\n    host_conn_id: ks_asia\n",
            8,
            "hosts[1].name",
            "another host's already, in line 3",
            id="two-hosts-with-one-name",
        ),
        pytest.param(
            f"{host()}      - cluster: m1\n        member_conn_id: m2\n",
            8,
            "hosts[0].members[1].cluster",
            "another member's already, in line 6",
            id="name-twice-on-one-host",
        ),
        pytest.param(
            f"{host()}      - cluster: m2\n        member_conn_id: m1\n",
            9,
            "hosts[0].members[1].member_conn_id",
            "another member's already, in line 7",
            id="one-member-under-two-names",
        ),
        pytest.param(
            f"{host()}  - name: asia\n    host_conn_id: b\n    members: [{{cluster: m1, member_conn_id: m1}}]\n",
            10,
            "hosts[1].members[0].member_conn_id",
            "another member's already, in line 7",
            id="one-member-of-two-hosts",
        ),
        pytest.param(
            member("connection: proxy", "proxy_publish_address: http://10.0.0.1:8080")
            + "      - {cluster: m2, member_conn_id: m2, connection: proxy, "
            "proxy_publish_address: 'http://10.0.0.2:8080'}\n",
            10,
            "hosts[0].members[1].proxy_publish_address",
            "is not what line 9 says; a host has one address of tower",
            id="two-addresses-of-one-tower",
        ),
        pytest.param(member('connection: "proxy\\n"'), 8, "hosts[0].members[0].connection", "got", id="line-break"),
        pytest.param(
            host('windows: [{start: "01:00\\n", end: "02:00"}]'),
            5,
            "hosts[0].windows[0].start",
            "HH:MM",
            id="line-break-in-a-time",
        ),
    ],
)
def test_a_problem_is_told_with_its_line_its_path_and_what_was_expected(text, line, path, says):
    ((at, where, sentence),) = problems(text)
    assert (at, where) == (line, path)
    assert says in sentence


def test_every_problem_is_told_at_once_in_the_order_of_the_file():
    text = host("prune: maybe", members=("cluster: M1", "cluster: m1", "conection: vpn", "approve: true"))
    assert [path for _, path, _ in problems(text)] == [
        "hosts[0].prune",
        "hosts[0].members[0].cluster",
        "hosts[0].members[0].member_conn_id",
        "hosts[0].members[0].cluster",
        "hosts[0].members[0].conection",
        "hosts[0].members[0].approve",
    ]


def test_the_error_lists_every_problem_and_trying_again_does_not_help():
    with pytest.raises(errors.PermanentError) as raised:
        inventory.load(member("connection: vpn", "provider: 5"))
    assert "line 8: hosts[0].members[0].connection: expected direct, proxy or auto, got 'vpn'" in str(raised.value)
    assert "line 9: hosts[0].members[0].provider: " in str(raised.value)


def test_a_wrong_default_is_told_once_however_many_members_have_it():
    more = "".join(f"      - {{cluster: c{n}, member_conn_id: c{n}}}\n" for n in range(5))
    assert len(problems(host("defaults: {group: a b}") + more)) == 1


def test_a_kubeconfig_pasted_into_the_wrong_key_is_not_repeated():
    pasted = [
        "member_server: |",
        "  apiVersion: v1",
        "  users: [{name: a, user: {token: s3cr3t-t0ken}}]",
        *["  #"] * 20,
    ]
    ((_, path, sentence),) = problems(member(*pasted))
    assert path == "hosts[0].members[0].member_server"
    assert "s3cr3t" not in sentence
    ((_, _, sentence),) = problems(member("member_server: [", "  token: s3cr3t-t0ken: x"))
    assert "s3cr3t" not in sentence


def test_aliases_that_stand_for_a_million_values_are_refused_at_once():
    text = "version: 1\na: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    began = time.perf_counter()
    ((_, _, sentence),) = problems(text + "hosts: *a11\n")
    assert "aliases" in sentence
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_nesting_without_end_is_refused(depth):
    """The parser's own composer overflows its stack, in C."""
    ((_, _, sentence),) = problems("hosts: " + "[" * depth)
    assert sentence == "it is nested more than 100 times"


def test_a_list_or_defaults_with_nothing_after_it_is_empty():
    """As it is when all of it is commented out."""
    text = (
        "version: 1\ndefaults:\nhosts:\n  - name: a\n    host_conn_id: b\n    defaults:\n    windows:\n    members:\n"
    )
    (only,) = inventory.load(text).hosts
    assert (only.members, only.windows) == ((), ())
    assert inventory.load("version: 1\nhosts:\n").hosts == ()


def test_a_thousand_members_are_read_in_well_under_a_second():
    more = "".join(f"      - cluster: c{n}\n        member_conn_id: c{n}\n        provider: here\n" for n in range(999))
    text = host("defaults: {connection: proxy}") + more
    inventory.load(text)
    spent = time.process_time()
    assert len(inventory.load(text).hosts[0].members) == 1000
    assert time.process_time() - spent < 1


WEEKEND = inventory.Window(("sat", "sun"), datetime.time(1), datetime.time(5), "Europe/Berlin")
NIGHTLY = inventory.Window((), datetime.time(22), datetime.time(4), "UTC")
FRIDAY = inventory.Window(("fri",), datetime.time(22), datetime.time(4), "UTC")
ALL_DAY = inventory.Window(("sun",), datetime.time(0), datetime.time(0), "UTC")


def utc(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("windows", "now", "opened"),
    [
        pytest.param((), "2026-11-26T12:00", True, id="without-any-at-any-time"),
        pytest.param((WEEKEND,), "2026-11-28T00:00", True, id="saturday-1-in-Berlin-is-the-start"),
        pytest.param((WEEKEND,), "2026-11-27T23:59", False, id="a-minute-before-the-start"),
        pytest.param((WEEKEND,), "2026-11-28T03:59", True, id="a-minute-before-the-end"),
        pytest.param((WEEKEND,), "2026-11-28T04:00", False, id="the-end-is-outside"),
        pytest.param((WEEKEND,), "2026-07-04T03:30", False, id="in-summer-time-it-ends-an-hour-earlier"),
        pytest.param((WEEKEND,), "2026-11-26T02:00", False, id="another-day"),
        pytest.param((NIGHTLY,), "2026-11-26T23:00", True, id="before-midnight"),
        pytest.param((NIGHTLY,), "2026-11-26T03:59", True, id="past-midnight"),
        pytest.param((NIGHTLY,), "2026-11-26T04:00", False, id="past-midnight-is-over"),
        pytest.param((FRIDAY,), "2026-11-28T03:00", True, id="days-are-those-on-which-it-begins"),
        pytest.param((FRIDAY,), "2026-11-27T03:00", False, id="not-the-night-before"),
        pytest.param((ALL_DAY,), "2026-11-29T00:00", True, id="equal-times-are-a-whole-day"),
        pytest.param((ALL_DAY,), "2026-11-29T23:59", True, id="equal-times-are-a-whole-day-2"),
        pytest.param((ALL_DAY,), "2026-11-30T00:00", False, id="equal-times-are-a-whole-day-3"),
        pytest.param((WEEKEND, NIGHTLY), "2026-11-26T23:00", True, id="one-of-several-is-enough"),
    ],
)
def test_a_window_is_open_from_its_start_to_its_end_by_the_clock_of_its_zone(windows, now, opened):
    assert inventory.is_open(windows, utc(now)) is opened
    assert inventory.is_open(windows, utc(now).astimezone(zoneinfo.ZoneInfo("Asia/Shanghai"))) is opened


GOOD = {
    "a-whole-fleet": FLEET,
    "nothing": "version: 1\nhosts: []\n",
    "empty-by-comment": "version: 1\ndefaults:\nhosts: [{name: a, host_conn_id: b, members: , windows: }]\n",
    "example": (ROOT / "include" / "fleet.yaml").read_text(),
    "null-takes-a-default-back": host(
        "defaults: {provider: here}", members=("cluster: m", "member_conn_id: n", "provider:")
    ),
    "auto": member("connection: auto", "probe: true", "waive: [host-ready]", "member_server: https://a:6443"),
}
BAD = {
    "version": "version: 2\nhosts: []\n",
    "no-hosts": "version: 1\n",
    "unknown": member("conection: proxy"),
    "refused": member("plan_only: true"),
    "host-in-a-member": member("host_conn_id: a"),
    "own-key-as-default": host("defaults: {member_conn_id: a}"),
    "wrong-value": member("connection: vpn"),
    "wrong-type": member("ready_timeout: soon"),
    "label": member("labels: {kubefed.io/managed: x}"),
    "console": host("console: http://a"),
    "time": host('windows: [{start: "25:00", end: "05:00"}]'),
    "no-name": host(members=("member_conn_id: m1",)),
}
BEYOND_A_SCHEMA = {
    "twice": f"{host()}      - cluster: m1\n        member_conn_id: m2\n",
    "own-member": host(members=("cluster: m1", "member_conn_id: ks_host")),
    "unused": member("agent_image: x"),
    "zone": host('windows: [{start: "01:00", end: "05:00", zone: Nowhere}]'),
}


def is_valid(text):
    """Whether the published schema, as an editor has it, takes an inventory."""
    schema = json.loads((ROOT / "include" / "fleet.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema).is_valid(documents.Located(text).value)


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_what_is_taken_is_valid_by_the_published_schema(text):
    inventory.load(text)
    assert is_valid(text)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_not_valid_by_the_published_schema_is_not_taken(text):
    assert not is_valid(text)
    assert problems(text)


@pytest.mark.parametrize("text", BEYOND_A_SCHEMA.values(), ids=BEYOND_A_SCHEMA)
def test_what_no_schema_can_say_is_checked_besides(text):
    assert is_valid(text)
    assert problems(text)


def test_the_published_schema_is_the_one_in_the_code():
    """`python -m include.fleet schema > include/fleet.schema.json` writes it anew."""
    published = (ROOT / "include" / "fleet.schema.json").read_text()
    assert published == json.dumps(inventory_schema.SCHEMA, indent=2) + "\n"


def test_the_schema_is_one_and_explains_every_key():
    jsonschema.Draft202012Validator.check_schema(inventory_schema.SCHEMA)
    for definition in (inventory_schema.SCHEMA, *inventory_schema.SCHEMA["$defs"].values()):
        for key, schema in definition["properties"].items():
            assert "$ref" in schema or {"description", "x-expected"} <= set(schema), key


def test_each_key_of_a_joins_conf_is_a_members_or_refused_with_a_reason():
    members = set(inventory_schema.SCHEMA["$defs"]["member"]["properties"]) - {"paused"}
    assert members | set(inventory_schema.REFUSED) == set(conf.SCHEMA)
    assert not members & set(inventory_schema.REFUSED)
    assert set(inventory_schema.SCHEMA["$defs"]["defaults"]["properties"]) == members - set(inventory_schema.OF_ONE)


def test_patterns_mean_the_same_to_an_editor():
    """Editors take them as ECMAScript does, which has no named groups, no \\A and no \\Z."""
    patterns = re.findall(r'"pattern": "(.*)"', json.dumps(inventory_schema.SCHEMA, indent=1))
    assert len(patterns) > 10
    assert not [pattern for pattern in patterns if re.search(r"\(\?P|\\\\[AZ]|\(\?i", pattern)]


def test_the_inventory_of_a_fresh_checkout_changes_nothing():
    assert inventory.load((ROOT / "include" / "fleet.yaml").read_text()).hosts == ()


def test_the_example_in_the_inventory_of_a_fresh_checkout_is_one():
    lines = (ROOT / "include" / "fleet.yaml").read_text().partition("An example:\n#\n")[2].splitlines()
    example = "".join(f"{line[2:]}\n" for line in lines if line.startswith("# "))
    (only,) = inventory.load(f"version: 1\n{example}").hosts
    assert [each.cluster for each in only.members] == ["m1"]


def test_the_page_has_every_key_as_the_schema_has_it():
    page = inventory_page.PAGE.read_text()
    assert page == inventory_page.written(page), "run python -m tests.fleet.inventory_page"


def test_the_example_of_the_page_is_an_inventory():
    example = inventory_page.PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    (only,) = inventory.load(example).hosts
    assert [each.conf["connection"] for each in only.members] == ["direct", "proxy"]


def test_a_member_that_is_handed_over_to_a_person_has_no_connection():
    text = host(members=("{cluster: m1, connection: proxy, member_access: handoff}",))
    (member,) = inventory.load(text).hosts[0].members
    assert member.conf.get("member_conn_id") is None
    jsonschema.validate(documents.load(text), inventory_schema.SCHEMA)
