# The image of docker-compose.yaml: Airflow's own, with exactly the packages that the tests run with.
# slim has no providers of its own, whose versions would be others than those of requirements.lock.
FROM apache/airflow:slim-3.3.2-python3.12

COPY requirements.lock /
RUN pip install --no-cache-dir --require-hashes --requirement /requirements.lock

# A volume takes owner and rights from the folder that it is laid over: group 0 may write, whatever the user's id.
RUN mkdir -p "${AIRFLOW_HOME}/logs" "${AIRFLOW_HOME}/simulated" \
    && chmod g+rwX "${AIRFLOW_HOME}/logs" "${AIRFLOW_HOME}/simulated"
