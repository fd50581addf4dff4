"""KubeSphere 3.4 or 3.0 clusters behind a Kubernetes HTTPS API: one host and any number of members in one process.

A stand-in for real clusters in the demo and in tests. It is reached over real HTTPS by the clients that reach a real
cluster, and shares no code with the product, so that an error in one is not repeated in the other.

- `scenario.py` says what the clusters are like at the start; `loading.py` reads it, and `contradictions.py` finds what
  could not be so in reality. `simulation.py` runs the clusters; `cluster.py` is one of them.
- `api.py` and what it uses (`store.py`, `access.py`, `accounts.py`, `proxy.py`, `discovery.py`) are the API server.
- `release.py` is what differs between the versions of KubeSphere.
- `actors/` is what happens by itself: clients of that API, as in reality. They are clients of a real API server as well
  (tests/envtest), beside kube-controller-manager instead of `workloads.py`, `jobs.py` and `namespaces.py`.
- `api.py` leaves paths to `targets.py`, queries and bodies to `parameters.py`, lists to `listing.py` with
  `selectors.py`, watches to `watches.py`, answers without an end to `streams.py`, forms of objects to `forms.py`,
  reviews of rights to `reviews.py`, what admits objects to `webhooks.py`, and what goes wrong with single requests to
  `disturbances.py`; `server.py` is its port.
- What is stored has been read by `schemas.py`, completed by `defaults.py` and looked at by `validation.py`.
- `tables.py` with `columns.py`, `patches.py` with `strategic.py`, `scales.py` and `openapi.py` are there for kubectl.
- `issued.py` describes kubeconfigs that are no good, which `accounts.py` and `cluster.py` make.
- `leftovers.py` is what an earlier membership has left, laid down by `leftover_states.py`.
- `elsewhere.py` is what answers at addresses taken for tower's, `extra_clusters.py` are Clusters made by hand.
- `workload_states.py` are Deployments that do not run as they should.
- `foundation.py` is what a scenario says of a cluster's Kubernetes; `ports.py` shows its certificates.
- `clock.py` is what time it is there.
- `fence.py` keeps processes that work on a simulation off the real network; `fenced/` puts it up on PYTHONPATH.
- `network.py` decides what the pods of a cluster reach; a cluster's address for them differs from the one used here,
  which is on loopback unless `--address` names this machine for others.
  `applications.py` sends requests to the pods, `tunnel.py` is the connection from an agent to tower.

What is not imitated, so that nobody relies on it:

Kubernetes (tests/contract holds the API to that of a real 1.24; 1.22 is what is played)
- managedFields and server-side apply (415). Protobuf (415, 406): kubectl's own builders (`create namespace`, `create
  configmap`) send it; `--dry-run=client -o yaml | kubectl create -f -` is the way round. Bookmarks, of which a real
  server sends one a minute. `Foreground`, and `Orphan` except for Jobs, of which it is the default: whatever else is
  deleted is deleted in the background.
- Times: MicroTimes are read as by Go, of others it is seen that they are texts. The Leases of nodes and of Kubernetes'
  own controllers.
- Rules for the values of fields, except for their types and what `validation.py` has. Fields of Kubernetes' own kinds
  that came after 1.22 are known as well. OpenAPI knows kinds and no fields, so that `kubectl explain` has nothing to
  tell. It announces `fieldValidation`, and fields that there are not are refused to who wants that, as from 1.25 on:
  before, kubectl finds them by itself, with a document of megabytes.
- The strategic merge knows its lists by the names of their fields, not by types (see `strategic.py`).
- Aggregated discovery: Kubernetes 1.22 has none. Tables of Scales.
- Groups other than those in `resources.py`, token reviews, token requests, and RBAC: everybody who is known is an
  administrator, except that a scenario can take single rights from the user `airflow` and from the users of further
  kubeconfigs, of whatever group, namespace and name. Access reviews other than of one's own rights. The token of a
  service account that was deleted and made again is taken again.
- A clock that is wrong is so for the API server and the programs of a cluster, except for its audit log, for pods that
  look at the certificate of a server, and for tokens of service accounts that have no end.
- Webhooks that change objects, that an address outside the cluster leads to, or that are asked about deleting; the
  selectors of their configurations by namespaces, and rules for those by objects. What a webhook serves has no TLS: it
  tells its authority instead.
- A client certificate of another authority fails the TLS handshake; a real server answers 401.
- A cluster's own pods do not see its bad server certificate: one that has expired leaves the cluster alone, where in
  reality its kubelets and controllers fail with it.
- ReplicaSets (so no `kubectl rollout undo` and `history`), paused Deployments, Jobs with indexes or parallel pods, a
  scheduler, probes, garbage collection other than of the pods of a Deployment or Job; the account, its token Secret and
  the ConfigMap that Kubernetes puts into a new namespace. EndpointSlices: `kubectl describe service` shows no
  endpoints, `kubectl get endpoints` does. Quotas, metrics (`kubectl top`).
- Node ports and load balancers lead somewhere for the pods of the clusters only.
- Volumes, but for annotations of the pod. Of curl, what `actors/curl.py` has.
- A container that ends starts again at once and stays Ready, unless its pod is never restarted. Those that a scenario
  lets crash are in CrashLoopBackOff from their start on, with a restart count that stays; a pod whose image
  cannot be pulled is in ImagePullBackOff at once.
- Of the version of Kubernetes that a scenario gives: what is served stays that of 1.22. What it changes is that the
  installer refuses it, that KubeSphere 3.0 waits for a token in vain, and that ks-apiserver crashes from 1.25 on.
- `previous`, `limitBytes` of pod logs; a followed log ends when its container does, though the log of the next one goes
  on in the same place; exec, attach, port-forward; websockets through a proxy.
- Of what `disturbances.py` makes go wrong: an answer that breaks off in its middle (streams do), connections that are
  lost without a reset, a TLS handshake that fails. A server that restarts does not forget its audit log, refuses
  nobody while it starts, and is not missed by its own etcd.

- What a firewall drops is told at once, not after 30 seconds.

KubeSphere
- Versions other than 3.4.1 and 3.0.0. Of clusters of both in one scenario it is not known what the controllers of the
  one make of the other's ConfigMap beyond the name that they write into it.
- Between agent and tower: WebSocket, SSH and keepalive (a lost connection is noticed at once, by both), and proxies
  of the environment. No TLS on tower's ports for a member, except that the address in the certificate is compared: the
  certificates in a kubeconfig that tower writes are genuine and never looked at.
- tower's leader election. What happens when two members have the same port (6.5) is played as tower's source reads and
  was not run: the second one's listener fails, its agent is reported as connected, and its Service leads to the first.
- KubeSphere's webhooks other than that on Clusters (6.9), which is there from the start on a host of 3.4 unless a
  scenario says otherwise. A run of the installer makes no new certificate for it (2.3), and does not lay its
  configuration down again.
- Of 3.0: the annotation `openpitrix.io/runtime`, and the lease that keeps a second ks-controller-manager waiting during
  a restart. The account's token Secret, which its Kubernetes makes by itself, is made by the controller as in 3.4.
- Its Ready=False of a proxy Cluster whose agent is lost also comes when the join fails for that reason, as the facts
  tell (12.6, S-15); by the order of its code the failing join would end the round before (6.3).
- What keeps a left-over Namespace is a ConfigMap with the finalizer of a FederatedTypeConfig, which nobody takes off.
- kubefed beyond `actors/kubefed.py`: it says which clusters answer and federates nothing. Of its thirty kinds there are
  users and workspaces; the Federated objects that KubeSphere makes of its own users and workspaces are not there.
- Prometheus: ks-apiserver counts the nodes itself as long as there is Prometheus' Service. Reloading does not end what
  it has begun to answer.
- ks-apiserver beyond `actors/ks_apiserver.py`; ks-console; users' grants; notification cleanup.
- The race in which the controller finds no token yet in a member's service account Secret (6.2).
- Ansible's real playbooks: the log has the lines that tell how a run ended, and few others.

KubeSphere's pods are taken to have been running before the simulation begins, so that no installer run is due at the
start; a pod that starts later makes ks-installer run, as in reality.
"""
