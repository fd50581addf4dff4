"""Metrics for Prometheus: the route, and who may have them.

Prometheus sends one token for years, while those of Airflow last a day. So a static one, from a file that the setting
`metrics_token_file` names, opens this route and no other; whoever is signed in and may read the record gets in as well.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.configuration import conf
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from include.fleet import settings
from include.fleet_ui import metrics, stored, view

log = logging.getLogger(__name__)

router = APIRouter()
reads_record = requires_access_dag("GET", DagAccessEntity.XCOM, param_dag_id=view.RECONCILE_DAG)
"""Raises 403 for a user who may not read the record."""

_SHORTEST = 32
"""Characters of a token that nobody guesses."""
_MAKE = (
    "Make a token with `python3 -c 'import secrets; print(secrets.token_urlsafe(32))'`, in a file that the user of the "
    "API server may read."
)
_Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def _is_scraper(bearer: _Bearer) -> bool:
    """Tell whether the request has the static token."""
    token = _token() if bearer else ""
    given = bearer.credentials if bearer else ""
    return bool(token) and secrets.compare_digest(given.encode(), token.encode())


def _token() -> str:
    """Return the static token, "" if there is none that may be used; read anew, so that a new one holds at once."""
    path = settings.Settings.read(lambda name: conf.get("fleet", name, fallback=None)).metrics_token_file
    if not path:
        return ""
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        log.error("metrics_token_file in section [fleet]: read %s: %s. %s", path, why, _MAKE)  # noqa: TRY400
        return ""
    if len(token) < _SHORTEST:
        log.error(
            "metrics_token_file in section [fleet]: the token in %s has fewer than %d characters and opens nothing. %s",
            path,
            _SHORTEST,
            _MAKE,
        )
        return ""
    return token


async def _user(
    request: Request, bearer: _Bearer, is_scraper: Annotated[bool, Depends(_is_scraper)]
) -> BaseUser | None:
    """Return who is signed in, None for whoever has the static token; raise 401 for anybody else."""
    if is_scraper:
        return None
    try:
        return await get_user(request, None, bearer)
    except HTTPException as error:
        # A token that is none is 403 elsewhere in Airflow, which to Prometheus says that it was understood.
        raise HTTPException(401, error.detail, headers={"WWW-Authenticate": "Bearer"}) from None


@router.get("/metrics")
def scrape(request: Request, session: SessionDep, user: Annotated[BaseUser | None, Depends(_user)]) -> Response:
    """Return the metrics of the fleet in Prometheus' text format."""
    if user is not None:
        reads_record(request, user)
    answer = metrics.text(
        stored.document(session),
        durations=stored.durations(session),
        repairs=stored.repairs(session),
        now=datetime.datetime.now(datetime.UTC),
    )
    return Response(answer, headers={"Content-Type": metrics.CONTENT_TYPE})
