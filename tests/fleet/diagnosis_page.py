"""docs/diagnosis.md, made from the table of causes: `python -m tests.fleet.diagnosis_page` writes it."""

import re
from pathlib import Path

from include.fleet import causes

FILE = Path(__file__).parents[2] / "docs" / "diagnosis.md"
HEAD = """# What is most likely wrong

When a task gives up, both clusters are read once more, for seconds and with the rights that a join has anyway; what may
not be read is left out. What was seen is compared with the table below. The last line of the error and of the log, and
XCom `diagnosis` of the task, say in one sentence what is most likely wrong, on which object of which cluster, what was
seen, and what to do next:

    Most likely: ... (P-24) Seen: condition Federated on the host says "...". Next: ...

Where no cause fits, it says so, shows what was seen and guesses nothing. Errors of the conf and of preflight list what
is wrong themselves. An error that may pass is explained only when its last try has failed.

The table is in the order of the ranking: the first cause that fits is named. What explains other causes comes before
what they explain: who is who and what a server refuses in words of its own, then an installer that has not done its
work and programs that are gone, then words with one meaning only, then role, jwtSecret and tokens, and last an address
at which nothing answers. *Words* like this are filled in.

| id | what is wrong | how it shows | what to do |
| --- | --- | --- | --- |
"""


def text():
    """The page as it has to be."""
    rows = [
        f"| {cause.id} | {_plain(cause.sentence)} | {_plain(cause.shows)} | {_plain(cause.next_step)} |"
        for cause in causes.CAUSES
    ]
    return HEAD + "\n".join(rows) + "\n"


def _plain(words):
    return re.sub(r"{(\w+)}", r"*\1*", words).replace("|", "\\|")


if __name__ == "__main__":
    FILE.write_text(text())
