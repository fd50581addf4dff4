"""The tables in docs/fleet.md, made from the schema: `python -m tests.fleet.inventory_page` writes them anew."""

from pathlib import Path

from include.fleet import conf, inventory_schema

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
BEGIN, END = "<!-- made from include/fleet/inventory_schema.py -->\n", "<!-- end of it -->\n"


def tables():
    """All tables as Markdown, each under a heading."""
    defined = inventory_schema.SCHEMA["$defs"]
    parts = {
        "The file": inventory_schema.SCHEMA,
        "A host": defined["host"],
        "A member": defined["member"],
        "A window": defined["window"],
    }
    return "\n".join(f"### {heading}\n\n{table(schema)}" for heading, schema in parts.items())


def table(schema):
    """The keys of one mapping."""
    rows = ["| key | needed | meaning | value |", "|---|---|---|---|"]
    for key, given in schema["properties"].items():
        described = inventory_schema.SCHEMA["$defs"]["defaults"] if "$ref" in given else given
        meaning = ": ".join(described[part] for part in ("title", "description") if part in described)
        default = conf.SCHEMA[key].get("default") if key in conf.SCHEMA else described.get("default")
        shown = str(default).lower() if isinstance(default, bool) else str(default or "")
        value = described["x-expected"] + (f"; default: {shown}" if shown and default != [] else "")
        rows.append(f"| `{key}` | {'yes' if key in schema['required'] else ''} | {meaning} | {value} |")
    return "\n".join(rows) + "\n"


def written(page):
    """The page with the tables as the schema has them."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + tables() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
