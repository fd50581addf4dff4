"""The product: joining KubeSphere member clusters to a host cluster.

In layers, each of which may import only what is below it; a linter checks it (pyproject.toml):

    executors, operators   the Airflow side: where tasks run; which step runs, how long a run may take, what is retried
    deadlines, triggers    what happens in the triggerer: what is said of a late run; the waiting part of a step
    join                   the steps as plain functions, named like the tasks
    joining, acceptance    what the steps have in common; whether what a user does next works
    proofs                 the proofs that a member is joined, and which cluster a name leads to
    configuring, membership
                           what KubeSphere is asked for and has in force; whether the host calls a member joined
    installer              ks-installer's runs
    tunnel, waits          tower and its agent; waiting
    clusters               Kubernetes access: verbs and watches; server's answer -> our errors
    connections            Kubernetes access: connection id -> client
    identity, manifests    who is who; the Cluster object
    tower                  tower's address, the agent's Deployment
    conf, findings, installer_log, journal, kubeconfig, kubesphere, redaction, settings
                           pure knowledge: no I/O, no Airflow, no Kubernetes client (as the two lines above)
    kinds, errors          the vocabulary of all of them

DAG files wire the operators and hold nothing else.
"""
