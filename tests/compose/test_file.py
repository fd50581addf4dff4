"""What must be true of docker-compose.yaml, .env.example and Dockerfile, beyond their being valid."""

import json
import re
import stat

import jsonschema
import pytest
from cryptography import fernet

from tests.compose import composition

SCHEMA = json.loads((composition.ROOT / "tests" / "compose" / "compose-spec.json").read_text())
AIRFLOW = ("airflow-init", "airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
REACHES_CLUSTERS = {"airflow-scheduler", "airflow-triggerer"}
SECRETS = {"POSTGRES_PASSWORD", "FERNET_KEY", "JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD"}
# What each component must know as the others do: what they sign, encrypt, import or ask for.
SHARED = {
    "AIRFLOW__API_AUTH__JWT_SECRET": "${JWT_SECRET:",
    "AIRFLOW__API__SECRET_KEY": "${API_SECRET_KEY:",
    "AIRFLOW__CORE__FERNET_KEY": "${FERNET_KEY:",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow:${POSTGRES_PASSWORD:",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://airflow-api-server:8080/execution/",
    "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "kube_config,kubeconfig",
    "PYTHONPATH": "/opt/airflow",
}


@pytest.fixture(scope="module")
def services():
    return composition.load()["services"]


@pytest.fixture(scope="module")
def values(env_file):
    return composition.settings(env_file)


def mounts(service):
    return {target: (source, mode) for source, target, *mode in (item.split(":") for item in service["volumes"])}


def test_the_file_follows_the_compose_specification():
    jsonschema.validate(composition.load(), SCHEMA)


def test_the_schema_finds_faults():
    document = composition.load()
    document["services"]["postgres"]["restarts"] = "always"
    with pytest.raises(jsonschema.ValidationError, match="restarts"):
        jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize("name", AIRFLOW)
def test_components_share_their_settings(services, name):
    environment = services[name]["environment"]
    assert {key for key, start in SHARED.items() if not environment[key].startswith(start)} == set()
    own = {"ADMIN_USERNAME", "ADMIN_EMAIL", "ADMIN_PASSWORD"} if name == "airflow-init" else set()
    others = services["airflow-scheduler"]["environment"]
    assert {key: value for key, value in environment.items() if key not in own} == others


def test_every_variable_is_explained_and_none_besides():
    used = {name for name, _ in composition.references(composition.load())}
    assert used == set(composition.settings(composition.EXAMPLE))


def test_each_variable_has_a_comment_of_its_own_or_stands_below_one_that_has():
    for paragraph in composition.EXAMPLE.read_text().split("\n\n")[1:]:
        comment, variable = paragraph.splitlines()[0], paragraph.splitlines()[-1]
        assert comment.startswith("# "), variable
        assert re.match(r"[A-Z_]+=", variable), paragraph


def test_no_secret_has_a_value_that_anybody_knows():
    assert {name for name, demanded in composition.references(composition.load()) if demanded} == SECRETS
    example = composition.settings(composition.EXAMPLE)
    assert {name for name in SECRETS if example[name]} == set()


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_without_a_secret_nothing_starts(values, name):
    with pytest.raises(composition.MissingError, match=name):
        composition.load({**values, name: ""})


def test_env_is_readable_by_its_owner_only(env_file):
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600


def test_the_printed_commands_make_what_airflow_needs(values):
    assert [name for name, value in values.items() if not value] == []
    assert len(values["JWT_SECRET"].encode()) >= 64
    fernet.Fernet(values["FERNET_KEY"])
    assert re.fullmatch(r"[0-9a-z]+", values["POSTGRES_PASSWORD"]), "it becomes part of a URL"
    assert values["AIRFLOW_UID"].isdigit()
    assert int(values["AIRFLOW_UID"]) > 0
    assert len({values[name] for name in SECRETS}) == len(SECRETS)


def test_the_values_of_the_example_are_the_files_defaults(values):
    """Whoever leaves one out gets what it says."""
    for name, value in composition.settings(composition.EXAMPLE).items():
        if value:
            assert composition.load({**values, name: ""}) == composition.load({**values, name: value}), name


def test_images_are_pinned_and_one_service_builds_what_the_others_run(services):
    dockerfile = (composition.ROOT / "Dockerfile").read_text()
    airflow = re.search(r"^apache-airflow==([\d.]+)", (composition.ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert re.findall(r"^FROM (.*)$", dockerfile, re.MULTILINE) == [f"apache/airflow:slim-{airflow[1]}-python3.12"]
    assert "--require-hashes --requirement /requirements.lock" in dockerfile
    images = {name: service["image"] for name, service in services.items()}
    assert images.pop("postgres") == "postgres:18.6"
    assert set(images.values()) == {f"cluster-fleet-airflow:{airflow[1]}"}
    assert [name for name, service in services.items() if "build" in service] == ["airflow-init"]


def test_every_service_has_a_health_check_or_ends_by_itself(services):
    without = [name for name, service in services.items() if "healthcheck" not in service]
    assert without == ["airflow-init"]
    assert services["airflow-init"]["restart"] == "no"
    assert {service["restart"] for name, service in services.items() if name not in without} == {"unless-stopped"}


@pytest.mark.parametrize("name", AIRFLOW[1:])
def test_components_start_on_a_database_that_is_up_to_date(services, name):
    conditions = {other: demand["condition"] for other, demand in services[name]["depends_on"].items()}
    assert conditions == {"postgres": "service_healthy", "airflow-init": "service_completed_successfully"}


def test_code_is_read_only_and_credentials_are_where_clusters_are_reached_from(values):
    services = composition.load(values)["services"]
    for name in (*AIRFLOW, "simulator"):
        mounted = mounts(services[name])
        written = {target for target, (_, mode) in mounted.items() if mode != ["ro"]}
        assert written == {"/opt/airflow/simulated" if name == "simulator" else "/opt/airflow/logs"}, name
        assert ("/opt/airflow/clusters" in mounted) == (name in REACHES_CLUSTERS), name


def test_only_airflow_is_published_and_only_on_this_machine(services, values):
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert composition.interpolated(published, values) == {"airflow-api-server": ["127.0.0.1:8080:8080"]}


def test_the_simulator_starts_only_when_asked_for_and_knows_no_secret(services):
    assert {name: service["profiles"] for name, service in services.items() if "profiles" in service} == {
        "simulator": ["simulator"]
    }
    assert {name for name, _ in composition.references(services["simulator"])} == {"AIRFLOW_UID", "SIMULATOR_SCENARIO"}
