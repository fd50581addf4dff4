"""The card on Airflow's home in a browser: what it counts, where it leads, and that nothing in it breaks the home."""

import datetime
import json

import pytest

from tests.ui import fleets

# Airflow's own answer on a DAG has a field that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture
def tokens(client):
    """A session by user, as Airflow's own login gives it."""
    return {user: each.cookies["_token"] for user, each in client.items() if user}


@pytest.fixture
def fleet(remember):
    """Thirty members and two that nobody has declared, seen three minutes ago."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    remember.record(fleets.mixed(now=now - 3 * MINUTE) | {"run_id": "reconcile-1"}, at=now - 3 * MINUTE)
    remember.due(now + 7 * MINUTE)
    return remember


def home(seen):
    """The card on Airflow's home, when it is there."""
    seen.page.goto(seen.address)
    card = seen.page.locator("#fleet-card")
    card.wait_for()
    return card


def titles(seen):
    """What Airflow's own home has, when it has drawn the card too or has done without."""
    seen.page.get_by_role("heading", name="History").wait_for()
    return seen.page.locator("h2").all_inner_texts()


def answered(seen, body, *, status=200):
    """Have the API answer the card so, and wait until it has."""
    seen.page.route(
        "**/fleet/summary", lambda route: route.fulfill(status=status, content_type="application/json", body=body)
    )
    with seen.page.expect_response("**/fleet/summary"):
        seen.page.goto(seen.address)


def test_the_card_counts_members_by_state_and_says_how_old_that_is(visit, address, tokens, fleet):
    card = home(visit(address, tokens["vera"]))
    assert card.locator("[data-state]").all_inner_texts() == [
        "1\nFailed",
        "2\nUnreachable",
        "2\nDrifted",
        "2\nJoining",
        "2\nUndeclared",
        "2\nPaused",
        "21\nHealthy",
    ]
    assert "seen 3 min ago" in card.inner_text()
    assert card.locator(".fleet-bar span").count() == 7
    assert card.locator(".fleet-worst").inner_text().startswith("Host asia: Deployment ks-controller-manager on the")


def test_a_count_leads_to_the_page_with_these_members_alone(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    home(seen).get_by_text("Unreachable").click()
    frame = seen.frame()
    assert frame.locator(".opener").all_inner_texts() == ["madrid-02", "paris-22"]
    assert frame.locator("#only-unreachable").get_attribute("aria-pressed") == "true"
    frame.locator("#only-unreachable").click()
    assert frame.locator(".row").count() == 32


def test_a_state_in_which_nobody_is_any_more_can_be_taken_off_the_page(visit, address, tokens, fleet):
    frame = visit(address, tokens["vera"]).fleet("state=leaving&state=none")
    assert "No member matches" in frame.locator(".empty").inner_text()
    frame.locator("#only-leaving").click()
    assert frame.locator(".row").count() == 32


def test_what_to_look_at_first_leads_there(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    home(seen).get_by_role("link", name="Host asia").click()
    assert seen.frame().locator("#host").input_value() == "asia"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, "<html>", id="no-json"),
        pytest.param(200, "null", id="nothing"),
        pytest.param(200, json.dumps({"counts": {"failed": {}, "odd": 3}, "worst": 7, "now": []}), id="other-types"),
        pytest.param(200, json.dumps({"counts": "x" * 9}), id="text-for-counts"),
        pytest.param(500, "", id="an-error"),
    ],
)
def test_an_answer_that_is_none_is_said_and_leaves_airflows_home_as_it_is(visit, address, tokens, status, body):
    seen = visit(address, tokens["vera"])
    answered(seen, body, status=status)
    assert {"Welcome", "Stats", "Health"} <= set(titles(seen))
    assert "The fleet cannot be shown: Airflow" in seen.page.locator("#fleet-card").inner_text()
    seen.said.clear()  # the browser says what it was answered, as it was told to


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_see_the_fleet_sees_no_card(visit, address, tokens, status):
    seen = visit(address, tokens["vera"])
    answered(seen, json.dumps({"detail": "Forbidden"}), status=status)
    assert "Fleet" not in titles(seen)
    assert seen.page.locator("#fleet-card").count() == 0
    seen.said.clear()  # the browser says that it was refused, as it was told to


def test_without_a_record_the_card_says_what_to_do(visit, address, tokens, remember):
    card = home(visit(address, tokens["vera"]))
    assert "Nobody has looked at the fleet yet. Declare it in the inventory" in card.inner_text()
    assert card.locator("[data-state]").count() == 0


def test_data_that_gets_no_younger_is_said_to_be_old_on_the_card(visit, address, tokens, fleet):
    fleet.due(datetime.datetime.now(datetime.UTC) - 20 * MINUTE)
    assert "has not begun. Does the scheduler run?" in home(visit(address, tokens["vera"])).inner_text()


def test_the_card_reads_again_by_itself_keeps_what_it_has_and_stops_when_it_is_left(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    seen.page.clock.install()
    card = home(seen)
    seen.page.route("**/fleet/summary", lambda route: route.abort())
    with seen.page.expect_request("**/fleet/summary"):
        seen.page.clock.fast_forward(31_000)
    card.get_by_text("What you see is from before: Airflow does not answer.").wait_for()
    assert card.locator("[data-state]").count() == 7
    seen.page.get_by_role("link", name="Dags", exact=True).first.click()
    card.wait_for(state="detached")
    before = sum(url.endswith("/fleet/summary") for url in seen.asked)
    seen.page.clock.fast_forward(120_000)
    seen.page.wait_for_timeout(300)
    assert sum(url.endswith("/fleet/summary") for url in seen.asked) == before == 2
    seen.said.clear()  # the browser says that it was refused, as it was told to


def test_the_card_follows_airflows_theme_at_once(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"], theme="light")
    text = home(seen).locator(".fleet-worst")
    light = text.evaluate("each => getComputedStyle(each).color")
    seen.page.evaluate("() => document.documentElement.classList.replace('light', 'dark')")
    assert text.evaluate("each => getComputedStyle(each).color") != light


@pytest.fixture(params=["wide-light", "wide-dark", "narrow-light", "narrow-dark"])
def looked(request, visit, address, tokens):
    """A visit with a window of either size and in either theme, and what that is called."""
    size, theme = request.param.split("-")
    return visit(address, tokens["otto"], theme=theme, size=size), request.param


def test_the_card_keeps_nobody_out(looked, fleet, picture):
    """What axe-core calls serious or critical: contrast, names, roles. The pictures are for people to look at."""
    from axe_playwright_python.sync_playwright import Axe

    seen, how = looked
    home(seen)
    titles(seen)
    picture(seen.page, f"home-{how}")
    found = Axe().run(seen.page, context="#fleet-card").response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious] == []
