"""The product: joining KubeSphere member clusters to a host cluster.

In layers, each of which may import only what is below it; a linter checks it (pyproject.toml):

    operators, triggers    the Airflow side: which step runs, where it waits, what is retried
    join                   the steps as plain functions, named like the tasks
    identity, installer, membership, waits
                           what several steps share: who is who, ks-installer's runs, proofs, waiting
    clusters               Kubernetes access: connection id -> client, server's answer -> our errors
    conf, kubeconfig, kubesphere, redaction, settings
                           pure knowledge: no I/O, no Airflow, no Kubernetes client
    kinds, errors          the vocabulary of all of them

DAG files wire the operators and hold nothing else.
"""
