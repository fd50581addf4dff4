"""The product: joining KubeSphere member clusters to a host cluster.

In layers, each of which may import only what is below it; a linter checks it (pyproject.toml):

    executors, operators   the Airflow side: where tasks run; which step runs, how long a run may take, what is retried
    deadlines, triggers    what happens in the triggerer: what is said of a late run; the waiting part of a step
    join                   the steps as plain functions, named like the tasks
    choosing               which connection type it is, where the conf leaves that open
    preflight              what is read of both clusters before anything is written
    handoff                members that Airflow does not reach: the file for a person, and what comes of it
    rollback               what stood before a run, and undoing what the run has written
    probe                  what the pods of host and member reach
    diagnosing             what is most likely wrong when a step gives up, as both clusters show it
    joining, acceptance    what the steps have in common; whether what a user does next works
    proofs                 the proofs that a member is joined, and which cluster a name leads to
    configuring, membership
                           what KubeSphere is asked for and has in force; whether the host calls a member joined
    installer              ks-installer's runs
    turn                   the Leases by which one run at a time changes a cluster
    tunnel, waits          tower and its agent; waiting
    clusters               Kubernetes access: verbs and watches; server's answer -> our errors
    certificates, connections
                           access: what TLS servers and credentials say of themselves; connection id -> client
    checks                 preflight's table of checks, and what its answers come to
    checks_*               the checks themselves, by subject
    checking               what a row of the table is made of
    observed               what they judge: everything that was read, or why it could not be
    identity, manifests, snapshots
                           who is who; the Cluster object; what stood on a cluster, kept and compared
    causes                 the table of what can be most likely wrong, and what is said of it
    causes_*               the causes themselves with their matchers, by rank
    matching               what a row of the table is made of, and how evidence is looked through
    bundle                 the file with which a person joins a member
    curl, plans, rights, tower
                           the Job of a probe, and curl's answers; what a join would write; which rights it needs;
                           tower's address and agent
    conf, evidence, findings, installer_log, journal, kubeconfig, kubesphere, redaction, settings
                           pure knowledge: no I/O, no Airflow, no Kubernetes client (as the two lines above)
    kinds, errors          the vocabulary of all of them

DAG files wire the operators and hold nothing else.
"""
