"""The product: joining KubeSphere member clusters to a host cluster.

In layers, each of which may import only what is below it; a linter checks it (pyproject.toml):

    __main__               the inventory, from a terminal
    executors, operators, telling
                           the Airflow side: where tasks run; which step runs, how long a run may take, what is retried;
                           the task that tells people of the fleet
    reconciling            the tasks that reconcile a fleet
    deadlines, triggers    what happens in the triggerer: what is said of a late run; the waiting part of a step, and
                           what wakes a reconcile
    join, leave, rotation  the steps as plain functions, named like the tasks
    choosing               which connection type it is, where the conf leaves that open
    preflight              what is read of both clusters before anything is written
    handoff                members that Airflow does not reach: the file for a person, and what comes of it
    leaving, rollback, rotating
                           taking a member out; what stood before a run, and undoing what the run has written; a new
                           jwtSecret for a host and its members
    surveying, watching    one look at a whole fleet; noticing that something has changed on a host
    probe                  what the pods of host and member reach
    diagnosing             what is most likely wrong when a step gives up, as both clusters show it
    joining, undoing, acceptance
                           what the steps have in common; what rollbacks and leaves have; whether what a user does next
                           works
    drift, proofs          what about a member is not as declared; the proofs that a member is joined, and which cluster
                           a name leads to
    configuring, inventories, membership
                           what KubeSphere is asked for and has in force; the inventory's file, and what a host has;
                           whether the host calls a member joined
    attempts               what runs a step, of whatever work, and holds its turn meanwhile
    installer              ks-installer's runs
    turn                   the Leases by which one run at a time changes a cluster
    tunnel, waits, webhook tower and its agent; waiting; the host's webhook for Clusters
    clusters               Kubernetes access: verbs and watches
    certificates, connections, refusals
                           access: what TLS servers and credentials say of themselves; connection id -> client; a
                           server's refusal -> one of our errors
    checks                 preflight's table of checks, and what its answers come to
    checks_*               the checks themselves, by subject
    checking               what a row of the table is made of
    observed               what they judge: everything that was read, or why it could not be
    messages               how people are told of a fleet
    adoption, deciding, identity, manifests, news, snapshots
                           the inventory of what there is; what a reconcile starts, and why others wait; who is who; the
                           Cluster object; what people are told of a fleet; what stood on a cluster, kept and compared
    causes                 the table of what can be most likely wrong, and what is said of it
    causes_*               the causes themselves with their matchers, by rank
    matching               what a row of the table is made of, and how evidence is looked through
    bundle                 the file with which a person joins a member
    inventory              which members hosts are to have
    curl, inventory_schema, leave_conf, plans, records, rights, rotation_conf, tower
                           the Job of a probe, and curl's answers; the form of an inventory's file; the confs of a leave
                           and of a rotation; what a join would write; the record of a reconcile; which rights it needs;
                           tower's address and agent
    conf, evidence, findings, installer_log, journal, kubeconfig, kubesphere, redaction, settings
                           pure knowledge: no I/O, no Airflow, no Kubernetes client (as all from `checks` on)
    documents, forms       YAML texts, and where in them something stands; how the schemas of confs are checked
    errors, kinds          the vocabulary of all of them

DAG files wire the operators and hold nothing else.
"""
