"""A local Airflow and the demonstration that runs on it: nothing that a deployed DAG imports."""
