"""What can go wrong, as one tree. The class alone decides whether trying again can help.

    FleetError
    ├── PermanentError              trying again changes nothing
    │   ├── ConfError               the conf of the run is wrong; lists every problem
    │   ├── InventoryError          the inventory is wrong; lists every problem (in `inventory`)
    │   ├── SettingError            Airflow's configuration is wrong in section [fleet]; lists every problem
    │   ├── UnreadableError         a file that is needed is not there, or may not be read
    │   ├── PreflightError          a check before the first write found an error; lists all of them
    │   ├── RefusedError            the run would harm a cluster; lists every reason
    │   ├── UnsupportedError        a KubeSphere that this project cannot join
    │   ├── UndecidedError          the connection type could not be found out, or neither works
    │   ├── ApiRefusedError         the API server understood the request and said no
    │   │   ├── NotFoundError       ... because there is no such object
    │   │   ├── CredentialError     ... because it does not know the credential
    │   │   └── ForbiddenError      ... because the credential lacks a right
    │   ├── InstallerFailedError    ks-installer gave up
    │   ├── NotReachedError         a member that Airflow does not reach was to be asked
    │   ├── HandoffError            a person could not join the member
    │   ├── NotToldError            a notifier has failed
    │   ├── NotReadyError           the host cluster cannot get the member cluster ready
    │   ├── VerificationError       joined or left by its own word, but a proof failed
    │   ├── RollbackError           what a run has written could not be undone
    │   └── DeadlineError           a wait passed its deadline
    └── TemporaryError              trying again may help
        ├── UnreachableError        the API server did not answer
        ├── UnavailableError        the API server answered: not now
        ├── ConflictError           somebody else wrote the object at the same moment
        └── LostTurnError           another run may change the member or the host by now

A message says what was tried, on which object of which cluster, what the server said, and what to do.
No message holds a secret: server text is quoted only from a Kubernetes Status, and redacted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DIAGNOSIS = "diagnosis"
"""The XCom key under which a task that gives up leaves what is most likely wrong (`causes.Diagnosis.report`)."""
FAILURE = "failure"
"""The XCom key under which a task that did not succeed leaves `error`, what it says, and `changed`, what it has written
all the same."""


class FleetError(Exception):
    """Anything that this project raises on purpose."""

    diagnosis: Mapping[str, str] | None = None
    """What is most likely wrong, as `causes.Diagnosis.report` has it; None where nobody has asked."""

    def explain(self, paragraph: str, diagnosis: Mapping[str, str]) -> None:
        """Add what is most likely wrong, as the last line of the message and for programs."""
        self.args = (f"{self}\n{paragraph}",)
        self.diagnosis = diagnosis


class PermanentError(FleetError):
    """Trying again changes nothing; a person has to act."""


class TemporaryError(FleetError):
    """Trying again may help, but not before *retry_after* seconds if the server has said so."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class ConfError(PermanentError):
    """The conf of a run is wrong.

    Holds every problem, each beginning with the conf key that it is about.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(_listed("The conf of this run cannot be used, nothing was written", self.problems))


class SettingError(PermanentError):
    """Settings of this project are wrong; holds every problem, each beginning with the setting's name."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(_listed("Section [fleet] of Airflow's configuration cannot be used", self.problems))


class UnreadableError(PermanentError):
    """A file that is needed is not there, may not be read, or is no text."""


class PreflightError(PermanentError):
    """Checks found errors before anything was written; lists every one."""

    def __init__(self, cluster: str, found: Sequence[str]) -> None:
        self.found = tuple(found)
        super().__init__(_listed(f"Preflight stopped the join of {cluster}, nothing was written", self.found))


class RefusedError(PermanentError):
    """The join, or whatever else a run is *to* do, would harm a cluster or mix up two: it stops before it writes."""

    def __init__(self, cluster: str, reasons: Sequence[str], *, to: str = "join") -> None:
        self.reasons = tuple(reasons)
        super().__init__(_listed(f"Refused to {to} {cluster}", self.reasons))


class UnsupportedError(PermanentError):
    """A cluster runs no KubeSphere, or one that this project cannot join."""


class UndecidedError(PermanentError):
    """The connection type that the conf leaves open could not be found out, or neither works."""


class InstallerFailedError(PermanentError):
    """ks-installer ended without doing what its ClusterConfiguration asks for."""

    def __init__(
        self, *, cluster: str, missing: str, lines: Sequence[str], forced: bool, forbidden: str | None = None
    ) -> None:
        said = "\n".join(f"    {line}" for line in lines) or "    (its log could not be read or says nothing)"
        tried = " even in a run forced by restarting it" if forced else ""
        refused = f" No new run can be forced: {forbidden}" if forbidden else ""
        super().__init__(
            f"ks-installer on {cluster} ended without finishing{tried}: {missing}.{refused} Its log says:\n{said}\n"
            "  Mend the cause, then clear this task: it forces a new installer run and waits again."
        )


class NotReachedError(PermanentError):
    """A member that Airflow does not reach was to be asked; who can do without the answer goes on."""


class HandoffError(PermanentError):
    """A person to whom a member was handed over could not join it, or Airflow could not hand it over."""


class NotToldError(PermanentError):
    """People could not be told what has become of the fleet: the notifier has failed."""


class NotReadyError(PermanentError):
    """The host cluster cannot make the member cluster Ready."""


class VerificationError(PermanentError):
    """A proof failed: of a join although the host calls the member Ready, of a leave although all was taken out."""


class RollbackError(PermanentError):
    """What a run has written could not be undone, or not all of it; says what is left."""


class DeadlineError(PermanentError):
    """A wait passed its deadline."""

    def __init__(self, *, what: str, seconds: float, last: str, hint: str) -> None:
        super().__init__(f"Waited {seconds:.0f} s for {what}. Last seen: {last}. {hint}")


class ApiRefusedError(PermanentError):
    """The API server understood the request and said no (any other 4xx)."""


class NotFoundError(ApiRefusedError):
    """There is no such object (404)."""


class CredentialError(ApiRefusedError):
    """The API server does not know the credential of a connection (401), not even after reading it again."""


class ForbiddenError(ApiRefusedError):
    """The credential of a connection lacks a right (403); *lacking* says which, as the end of a sentence."""

    def __init__(self, message: str, *, lacking: str = "") -> None:
        self.lacking = lacking
        super().__init__(message)


class UnreachableError(TemporaryError):
    """No answer came from the API server: refused, timed out, reset, or not trusted."""


class UnavailableError(TemporaryError):
    """The API server, or something behind it, answered that it cannot serve now (429, 5xx)."""


class ConflictError(TemporaryError):
    """Somebody else wrote the object at the same moment (409)."""


class LostTurnError(TemporaryError):
    """A Lease that this run held is another run's, or may be soon; the step stops and waits for its turn again."""


def restored(
    permanent: bool, message: str, *, retry_after: float | None = None, diagnosis: Mapping[str, str] | None = None
) -> FleetError:
    """Return an error that travelled as text from the triggerer to a worker."""
    error = PermanentError(message) if permanent else TemporaryError(message, retry_after=retry_after)
    error.diagnosis = diagnosis
    return error


def _listed(heading: str, items: Sequence[str]) -> str:
    if len(items) == 1:
        return f"{heading}: {items[0]}"
    return f"{heading}:" + "".join(f"\n  - {item}" for item in items)
