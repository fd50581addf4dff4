"""`python -m include.fleet check|adopt|schema`: the inventory of a fleet, from a terminal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from include.fleet import errors, inventory, inventory_schema

if TYPE_CHECKING:
    from include.fleet import adoption


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code: 1 for what is wrong, 2 for what cannot be tried."""
    parser = argparse.ArgumentParser(prog="python -m include.fleet", description="The inventory of a fleet.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="list every problem of an inventory as FILE:LINE: path: what is wrong")
    check.add_argument("file", help="the inventory, or - for what comes from standard input")
    adopt = commands.add_parser(
        "adopt",
        help="write the inventory of what hosts have",
        description="Read the Clusters of one or more hosts and write the inventory of their members. Changes nothing.",
    )
    adopt.add_argument(
        "--host",
        action="append",
        required=True,
        type=_host,
        metavar="NAME=KUBECONFIG|NAME=conn:ID",
        help="what the host is to be called, and a kubeconfig file or an Airflow connection that leads to it",
    )
    adopt.add_argument("--out", type=Path, metavar="FILE", help="where the inventory is written; default: the terminal")
    adopt.add_argument("--force", action="store_true", help="write over FILE")
    commands.add_parser("schema", help="print the JSON Schema of inventories, which include/fleet.schema.json holds")
    options = parser.parse_args(arguments)
    if options.command == "check":
        return _check(options.file)
    if options.command == "adopt":
        return _adopt(options.host, out=options.out, force=options.force)
    print(json.dumps(inventory_schema.SCHEMA, indent=2))
    return 0


def _host(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise argparse.ArgumentTypeError(f"expected NAME=KUBECONFIG or NAME=conn:ID, got {text!r}")
    return name, source


def _check(file: str) -> int:
    shown = "<stdin>" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        found = inventory.load(text)
    except OSError as error:
        return _say(2, f"{shown}: it cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _say(2, f"{shown}: it is not UTF-8")
    except inventory.InventoryError as error:
        for problem in error.problems:
            print(f"{shown}:{problem.line}: {problem.told}")
        return 1
    members = sum(len(host.members) for host in found.hosts)
    print(f"{shown}: {_counted(len(found.hosts), 'host')}, {_counted(members, 'member')}")
    return 0


def _adopt(hosts: Iterable[tuple[str, str]], *, out: Path | None, force: bool) -> int:
    if out is not None and out.exists() and not force:
        return _say(2, f"{out}: it is there already; --force writes over it")
    # Airflow reads connections from its database too then, not only from the environment.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from include.fleet import adoption

    try:
        # Airflow says things on standard output, where only the inventory is to be.
        with contextlib.redirect_stdout(sys.stderr):
            text = adoption.text(asyncio.run(_found(hosts)))
        inventory.load(text)
        if out is None:
            print(text, end="")
        else:
            out.write_text(text, encoding="utf-8")
    except errors.ConfError as error:
        return _say(1, *error.problems)
    except errors.FleetError as error:
        return _say(1, str(error))
    except OSError as error:
        return _say(2, f"{out}: it cannot be written: {error.strerror}")
    return 0


async def _found(hosts: Iterable[tuple[str, str]]) -> list[adoption.Found]:
    """Read the hosts, one after the other."""
    from include.fleet import clusters, inventories, settings

    limits, found = settings.Settings(), []
    for name, source in hosts:
        conn_id = source.removeprefix("conn:")
        if conn_id != source:
            access = clusters.connect(conn_id, role="host", limits=limits)
        else:
            conn_id, access = name, clusters.connect_to_file(Path(source), role="host", limits=limits)
        found.append(await inventories.of_host(name, access, conn_id=conn_id))
    return found


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _say(code: int, *lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
