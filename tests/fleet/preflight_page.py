"""The table in docs/preflight.md, made from the checks: `python -m tests.fleet.preflight_page` writes it anew."""

from pathlib import Path

from include.fleet import checks

PAGE = Path(__file__).parents[2] / "docs" / "preflight.md"
BEGIN, END = "<!-- made from include/fleet/checks.py -->\n", "<!-- end -->\n"


def table():
    """The rows as Markdown."""
    rows = ["| id | what holds when it is ok | for | answer | what to do | about |", "|---|---|---|---|---|---|"]
    for check in checks.CHECKS:
        ways = " and ".join(sorted(way.value for way in check.ways))
        answer = check.answer.value if check.waivable else f"{check.answer.value}, never waived"
        rows.append(f"| `{check.id}` | {check.title} | {ways} | {answer} | {check.fix} | {check.about} |")
    return "\n".join(rows) + "\n"


def written(page):
    """The page with the table as the checks have it."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
