"""Inventories from outside: the file, wherever it is kept, and what a host has."""

from __future__ import annotations

import contextlib
from pathlib import Path

from include.fleet import adoption, clusters, errors, inventory, kinds, kubesphere

ROOT = Path(__file__).parents[2]
"""The folder that DAGs and include are in; a path without one is relative to it."""

_MAKE = (
    "Make one with `python -m include.fleet adopt --host NAME=KUBECONFIG --out FILE`, or set inventory in section "
    "[fleet] of Airflow's configuration (AIRFLOW__FLEET__INVENTORY) to the one that you have."
)


def read(path: str) -> inventory.Inventory:
    """Return the inventory in a file.

    *path* is whatever Airflow's ObjectStoragePath reads: a file, relative to the project's folder, or a URL such as
    s3://CONNECTION@BUCKET/fleet.yaml. Raises InventoryError with every problem, UnreadableError for what no second try
    reads, and UnavailableError for a storage that does not answer.
    """
    from airflow.sdk import ObjectStoragePath

    where = path if "://" in path else str(ROOT / path)
    shown = where.partition("?")[0]  # what follows may be the signature of an address
    tried = f"read the inventory {shown}"
    try:
        text = ObjectStoragePath(where).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        # By HTTP, fsspec says so of whatever goes wrong; the cause knows better.
        if error.__cause__ is not None and getattr(error.__cause__, "status", None) != 404:
            raise _unavailable(tried, error.__cause__) from None
        raise errors.UnreadableError(f"{tried}: there is no such file. {_MAKE}") from None
    except ImportError as error:
        raise errors.UnreadableError(f"{tried}: {error}. Install the Airflow provider of that storage.") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise errors.UnreadableError(f"{tried}: {error.strerror}. Let Airflow's workers read that file.") from error
    except UnicodeDecodeError:
        raise errors.UnreadableError(f"{tried}: it is not UTF-8. Save it as UTF-8.") from None
    except ValueError as error:
        raise errors.UnreadableError(f"{tried}: {error}. Take a path that ObjectStoragePath reads.") from error
    except Exception as error:  # noqa: BLE001 - each storage raises errors of its own
        raise _unavailable(tried, error) from None
    try:
        return inventory.load(text)
    except inventory.InventoryError as error:
        raise inventory.InventoryError(error.problems, where=f"The inventory {shown}") from None


def _unavailable(tried: str, error: BaseException) -> errors.UnavailableError:
    """Return what is said of a storage; its own text is not quoted, which can hold a signed address."""
    status = getattr(error, "status", None)
    said = f"HTTP {status}" if status else getattr(error, "strerror", None) or type(error).__name__
    return errors.UnavailableError(
        f"{tried}: {said}. Look at the storage, and at the connection that its address names."
    )


async def of_host(
    name: str, access: contextlib.AbstractAsyncContextManager[clusters.Cluster], *, conn_id: str
) -> adoption.Found:
    """Return what the host that people call *name* has; *conn_id* is the id of its Airflow connection, or a proposal.

    Raises UnsupportedError for a cluster that is no host, and what any request raises.
    """
    async with access as host:
        configuration = await host.get(kubesphere.CONFIGURATION)
        role = kubesphere.spec_role(configuration)
        if role != kubesphere.HOST:
            raise errors.UnsupportedError(
                f"read {kubesphere.CONFIGURATION} on the {host}: its role is {role}, not {kubesphere.HOST}. "
                "Name a host cluster, or the context of one."
            )
        return adoption.Found(name, conn_id, await host.list(kinds.CLUSTER))
