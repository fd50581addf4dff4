#!/usr/bin/env bash
# KubeSphere's guide to joining a member cluster, as a careful person would script it with kubectl.
#
#   bench/runbook.sh direct HOST_KUBECONFIG MEMBER_KUBECONFIG NAME [MEMBER_SERVER]
#   bench/runbook.sh proxy  HOST_KUBECONFIG MEMBER_KUBECONFIG NAME [TOWER_ADDRESS]
#   bench/runbook.sh verify HOST_KUBECONFIG MEMBER_KUBECONFIG NAME
#
# MEMBER_SERVER is the member's API server as the host's pods reach it, TOWER_ADDRESS (http[s]://host:port) is tower as
# the member's pods reach it; without them the kubeconfig's server and the LoadBalancer's address are used. `verify` is
# the last step alone. What is there already is left alone, so it is safe to run again.
#
# Needs bash, kubectl (or what $KUBECTL names), curl, awk, sed, base64. Secrets are in no argument of any process; files
# that hold one are in a folder of our own and removed in the end. Exit code 0: joined and compared; 1: not; 2: usage.
# Seconds to wait at most: INSTALLER_TIMEOUT, TOWER_TIMEOUT, READY_TIMEOUT, VERIFY_TIMEOUT; FAILED_AFTER is how long an
# idle installer that has not done its work is not yet taken for one that has failed.
set -euo pipefail
umask 077

KUBECTL=${KUBECTL:-kubectl}
INSTALLER_TIMEOUT=${INSTALLER_TIMEOUT:-3600}
TOWER_TIMEOUT=${TOWER_TIMEOUT:-300}
READY_TIMEOUT=${READY_TIMEOUT:-1200}
VERIFY_TIMEOUT=${VERIFY_TIMEOUT:-300}
FAILED_AFTER=${FAILED_AFTER:-30}

KS=kubesphere-system
# In full, or kubectl would look it up anew each time: it takes the first dot for the one before a version.
CLUSTERS=clusters.v1alpha1.cluster.kubesphere.io
HOST_LABEL='cluster-role.kubesphere.io/host'
KS_APISERVER=/api/v1/namespaces/$KS/services/:ks-apiserver:80/proxy

say() { printf 'runbook: %s\n' "$*"; }
fail() {
    printf 'runbook: %s\n' "$*" >&2
    exit 1
}
usage() {
    sed -n '3,6s/^# *//p' "$0" >&2
    exit 2
}

host() { "$KUBECTL" --kubeconfig "$host_kubeconfig" "$@"; }
member() { "$KUBECTL" --kubeconfig "$member_kubeconfig" "$@"; }
said() { tr '\n' ' ' <"$work/error"; }
older_than_3_3() { [[ $version == v3.[012].* ]]; }

# What one side is asked for and has in force, by one call of kubectl.
read_side() {
    "$1" get clusterconfiguration/ks-installer configmap/kubesphere-config -n "$KS" -o jsonpath='{.items[0].metadata.labels.version}
{.items[0].spec.multicluster.clusterRole}
{.items[0].spec.multicluster.proxyPublishAddress}
{.items[0].spec.authentication.jwtSecret}
{.items[0].status.multicluster.status}
{.items[1].data.kubesphere\.yaml}' >"$work/side" 2>"$work/error" || return 1
    {
        IFS= read -r version
        IFS= read -r asked_role
        IFS= read -r asked_address
        IFS= read -r asked_secret
        IFS= read -r enabled
        config=$(cat)
    } <"$work/side"
    secret=$(in_force authentication jwtSecret)
    address=$(in_force multicluster proxyPublishAddress)
    role=$(in_force multicluster clusterRole)
    # Before 3.3 the file names no role: a host is enabled, a member's access tokens never expire.
    if [[ -z $role && $(in_force multicluster enable) == true ]]; then role=host; fi
    if [[ -z $role && $(in_force authentication accessTokenMaxAge) =~ ^0s?$ ]]; then role=member; fi
}

# A value of kubesphere.yaml, quoted (by ks-installer) or not (by the host's controller).
in_force() {
    awk -v section="$1:" -v key="$2:" '
        /^[^ ]/ { inside = ($1 == section) }
        inside && $1 == key { gsub(/^["'\'']|["'\'']$/, "", $2); print $2; exit }' <<<"$config"
}

uid_of() { "$1" get namespace kube-system -o jsonpath='{.metadata.uid}'; }

# --- the guide's 2.1, 2.2, 3.1, 3.2: roles, secret and address --------------------------------------------------------

prepare() {
    local host_secret host_uid kept
    host_uid=$(uid_of host)
    [[ $host_uid != "$member_uid" ]] || fail "both kubeconfigs lead to the same cluster (kube-system UID $host_uid)."
    refuse_what_is_taken
    [[ $way == proxy ]] || prepare_kubeconfig
    read_side host || fail "KubeSphere on the host cannot be read: $(said)"
    host_secret=$secret
    [[ -n $host_secret ]] || fail "the host has no jwtSecret in ConfigMap kubesphere-config. Has ks-installer finished?"
    [[ $host_secret =~ ^[A-Za-z0-9._-]+$ ]] || fail "the host's jwtSecret has characters that ks-installer cannot pass on."
    kept=$(host get secret kubesphere-secret -n "$KS" -o jsonpath='{.data.secret}' | base64 -d)
    [[ $kept == "$host_secret" && ${asked_secret:-$kept} == "$kept" ]] ||
        fail "the host's jwtSecret is about to change: wait until its ks-installer has finished, then run this again."
    # One patch each: two would be two runs of the installer.
    if [[ $asked_role != host || -n $wanted_address && $asked_address != "$wanted_address" ]]; then
        say "host: role ${asked_role:-none} -> host${wanted_address:+, proxyPublishAddress $wanted_address}"
        patch host "$(printf '{"spec":{"multicluster":{"clusterRole":"host"%s}}}' \
            "${wanted_address:+,\"proxyPublishAddress\":\"$wanted_address\"}")"
    fi
    read_side member || fail "KubeSphere on the member cannot be read: $(said)"
    if [[ $asked_role != member || $asked_secret != "$host_secret" ]]; then
        say "member: role ${asked_role:-none} -> member, with the host's jwtSecret"
        patch member "$(printf '{"spec":{"authentication":{"jwtSecret":"%s"},"multicluster":{"clusterRole":"member"}}}' \
            "$host_secret")"
    fi
    due_secret=$host_secret
}

patch() {
    printf '%s' "$2" |
        "$1" patch clusterconfiguration ks-installer -n "$KS" --type merge --patch-file /dev/stdin >/dev/null
}

# What the host receives: one context, no files, and the server that the host's pods reach.
prepare_kubeconfig() {
    member config view --raw --flatten --minify >"$work/kubeconfig"
    if [[ -n $wanted_server ]]; then sed -i.bak "s|^\( *server:\).*|\1 $wanted_server|" "$work/kubeconfig"; fi
    case $(sed -n 's|^ *server: *[a-z]*://||p' "$work/kubeconfig") in
    127.* | localhost* | '[::1]'* | *.local | *.local:*)
        fail "the host's pods cannot reach the server in the member's kubeconfig. Give MEMBER_SERVER."
        ;;
    esac
}

# A Cluster of this name has to be this member, joined this way, and this member must have no other.
refuse_what_is_taken() {
    local name uid type
    exists=
    host get "$CLUSTERS" --ignore-not-found -o jsonpath='{range .items[*]}{.metadata.name} {.spec.connection.type} {.status.uid}
{end}' >"$work/clusters"
    while read -r name type uid; do
        if [[ $name == "$cluster" ]]; then
            [[ -z $uid || $uid == "$member_uid" ]] || fail "Cluster $name on the host is another cluster (UID $uid)."
            [[ $type == "$way" ]] || fail "Cluster $name on the host is joined by $type. Delete it to join it by $way."
            exists=yes
        elif [[ $uid == "$member_uid" ]]; then
            fail "this member is joined already, as Cluster $name."
        fi
    done <"$work/clusters"
}

# --- "wait until the configuration is in force" ----------------------------------------------------------------------

# Both installers run at the same time, so both are waited for at once.
wait_installers() {
    local deadline=$((SECONDS + INSTALLER_TIMEOUT)) left
    # shellcheck disable=SC2034 # read by name
    idle_since_host='' idle_since_member='' pod_of_host='' pod_of_member=''
    while :; do
        left=
        finished host host || left="host: $reason. "
        finished member member || left+="member: $reason. "
        [[ -n $left ]] || break
        ((SECONDS < deadline)) || fail "ks-installer has not finished in $INSTALLER_TIMEOUT s. ${left}$(see_log)"
        # A look takes half a second itself.
        sleep 0.5
    done
    # Before 3.3 the installer restarts what has to load the file; later it reloads by itself.
    if older_than_3_3; then
        for side in host member; do
            for name in ks-apiserver ks-controller-manager; do
                "$side" rollout status deployment "$name" -n "$KS" --timeout="${READY_TIMEOUT}s" >/dev/null
            done
        done
    fi
    host wait deployment/tower -n "$KS" --for=condition=Available --timeout="${READY_TIMEOUT}s" >/dev/null
    host wait deployment/kubefed-controller-manager deployment/kubefed-admission-webhook -n kube-federation-system \
        --for=condition=Available --timeout="${READY_TIMEOUT}s" >/dev/null
    # The best proof that a host is finished is its own Cluster; until it is created there is nothing to wait for.
    deadline=$((SECONDS + READY_TIMEOUT))
    until host wait "$CLUSTERS" -l "$HOST_LABEL" --for=condition=Ready \
        --timeout="${READY_TIMEOUT}s" >/dev/null 2>"$work/error"; do
        ((SECONDS < deadline)) || fail "the host's own Cluster does not become Ready: $(said)"
        sleep 1
    done
}

# Objects decide; the installer's queue tells a run that goes on from one that has given up.
finished() {
    local side=$1 wanted_role=$2 since=idle_since_$1
    unmet "$side" "$wanted_role" || return 1
    if ! queue_is_empty "$side"; then
        printf -v "$since" ''
        reason=${reason:-its run is still finishing}
        return 1
    fi
    [[ -n $reason ]] || return 0
    [[ -n ${!since} ]] || printf -v "$since" '%s' "$SECONDS"
    ((SECONDS - ${!since} < FAILED_AFTER)) ||
        fail "ks-installer on the $side is idle and has not done its work: $reason. $(see_log "$side")"
    return 1
}

# Sets `reason` to what the installer has not done yet; 1 where that cannot be told.
unmet() {
    reason=
    if ! read_side "$1"; then
        reason="it cannot be read: $(said)"
        return 1
    fi
    if [[ $secret != "$due_secret" ]]; then
        reason="ConfigMap kubesphere-config does not hold the jwtSecret yet that is due"
    elif [[ $role != "$2" ]]; then
        reason="ConfigMap kubesphere-config says role ${role:-none}, not $2"
    elif [[ $2 == host && $address != "$asked_address" ]]; then
        reason="ConfigMap kubesphere-config does not hold the proxyPublishAddress that is asked for"
    elif [[ $2 == host && $enabled != enabled ]]; then
        reason="status.multicluster of its ClusterConfiguration is not enabled"
    fi
}

queue_is_empty() {
    local pod=pod_of_$1
    [[ -n ${!pod} ]] || printf -v "$pod" '%s' "$(newest_pod "$1")"
    [[ $("$1" get --raw "/api/v1/namespaces/$KS/pods/${!pod}:9115/proxy/queue" 2>"$work/error") != 'Queue length 0'* ]] ||
        return 0
    if [[ -s $work/error ]]; then printf -v "$pod" ''; fi
    return 1
}

newest_pod() {
    "$1" get pods -n "$KS" -l 'app in (ks-install, ks-installer)' --sort-by=.metadata.creationTimestamp \
        -o jsonpath='{.items[-1:].metadata.name}' 2>"$work/error"
}

see_log() { printf 'See: kubectl logs -n %s deployment/ks-installer%s' "$KS" "${1:+ (on the $1)}"; }

# --- the guide's 2.3 and 3.3: import ----------------------------------------------------------------------------------

import_directly() {
    [[ -n $exists ]] || create_cluster "kubeconfig: $(base64 <"$work/kubeconfig" | tr -d '\n')"
}

import_by_proxy() {
    local deadline token tower
    [[ -n $exists ]] || create_cluster
    host wait "$CLUSTERS/$cluster" --for=condition=Initialized \
        --timeout="${TOWER_TIMEOUT}s" >/dev/null ||
        fail "tower has not initialised Cluster $cluster. Does Deployment tower in $KS on the host run?"
    token=$(host get "$CLUSTERS" "$cluster" -o jsonpath='{.spec.connection.token}')
    read_side host || fail "KubeSphere on the host cannot be read: $(said)"
    tower=$asked_address
    if [[ -z $tower ]]; then
        host wait service/tower -n "$KS" --for=jsonpath='{.status.loadBalancer.ingress}' \
            --timeout="${TOWER_TIMEOUT}s" >/dev/null || fail "tower's LoadBalancer has no address. Give TOWER_ADDRESS."
        tower=http
    fi
    # ks-apiserver may not have loaded role and address yet: then there is none, or one with the old address.
    deadline=$((SECONDS + TOWER_TIMEOUT))
    until ask_host "/kapis/cluster.kubesphere.io/v1alpha1/clusters/$cluster/agent/deployment" &&
        grep -qF -e "--token=$token" "$work/answer" && grep -qF -e "--proxy-server=$tower" "$work/answer"; do
        ((SECONDS < deadline)) || fail "the host's ks-apiserver gives no manifest of the agent: $code $(answer)"
        sleep 1
    done
    mv "$work/answer" "$work/agent.yaml"
    if [[ $(agent_on_member) != "$(sed -n 's/^ *- \([-/].*\)/\1/p; s/^ *image: //p' "$work/agent.yaml")" ]]; then
        say "member: Deployment cluster-agent applied"
        member apply -f "$work/agent.yaml" >/dev/null
    fi
}

# Its command and image, a line each. `kubectl apply` writes the manifest each time: it has a creationTimestamp of null.
agent_on_member() {
    member get deployment cluster-agent -n "$KS" --ignore-not-found -o jsonpath='{range .spec.template.spec.containers[0].command[*]}{@}
{end}{.spec.template.spec.containers[0].image}'
}

# The manifest goes through a pipe: it may hold the member's kubeconfig.
create_cluster() {
    say "host: Cluster $cluster created, $way"
    host create -f - >/dev/null <<MANIFEST
apiVersion: cluster.kubesphere.io/v1alpha1
kind: Cluster
metadata:
  name: $cluster
spec:
  joinFederation: true
  enable: true
  connection:
    type: $way
    ${1:-}
MANIFEST
}

wait_ready() {
    host wait "$CLUSTERS/$cluster" --for=condition=Ready --timeout="${READY_TIMEOUT}s" \
        >/dev/null 2>"$work/error" || fail "Cluster $cluster does not become Ready: $(conditions) $(said)"
}

conditions() {
    host get "$CLUSTERS" "$cluster" \
        -o jsonpath='{range .status.conditions[*]}{.type}={.status}: {.reason}; {end}'
}

# --- what makes it a member: Ready alone says nothing about role and secret -------------------------------------------

verify() {
    local deadline=$((SECONDS + VERIFY_TIMEOUT))
    until compare; do
        ((SECONDS < deadline)) || fail "not joined: $reason."
        sleep 1
    done
    say "joined: same jwtSecret, roles host and member, and the host's ks-apiserver forwards to kube-system UID $member_uid"
}

# Sets `reason` to the first thing that is not as it must be.
compare() {
    local type uid kubernetes initialised agent federated ready updated labels host_secret
    host get "$CLUSTERS" "$cluster" -o jsonpath='{.spec.connection.type}
{.status.uid}
{.status.kubernetesVersion}
{.status.conditions[?(@.type=="Initialized")].status}
{.status.conditions[?(@.type=="AgentAvailable")].status}
{.status.conditions[?(@.type=="Federated")].status}
{.status.conditions[?(@.type=="Ready")].status}
{.status.conditions[?(@.type=="Ready")].lastUpdateTime}
{.metadata.labels}' >"$work/cluster" 2>"$work/error" || because "Cluster $cluster cannot be read: $(said)" || return 1
    {
        IFS= read -r type && IFS= read -r uid && IFS= read -r kubernetes && IFS= read -r initialised
        IFS= read -r agent && IFS= read -r federated && IFS= read -r ready && IFS= read -r updated
        labels=$(cat)
    } <"$work/cluster"
    # 3.0 keeps old conditions: the last of a type counts.
    [[ $type != proxy || ${initialised##* } == True ]] || because "Initialized is ${initialised:-absent}" || return 1
    [[ $type != proxy || ${agent##* } == True ]] || because "AgentAvailable is ${agent:-absent}" || return 1
    [[ ${federated##* } == True ]] || because "Federated is ${federated:-absent}" || return 1
    [[ ${ready##* } == True ]] || because "Ready is ${ready:-absent}" || return 1
    [[ -n $kubernetes ]] || because "the host has not read the member's version yet" || return 1
    [[ $labels != *"$HOST_LABEL"* ]] || because "the host takes Cluster $cluster for itself" || return 1
    read_side host || because "the host cannot be read: $(said)" || return 1
    older_than_3_3 || [[ $uid == "$member_uid" ]] ||
        because "the host sees kube-system UID ${uid:-none} under the name $cluster, the member's is $member_uid" || return 1
    # Renewed every 120 s; one that is much older is only what was true once.
    older_than_3_3 || [[ ${updated##* } > $(seconds_ago 300) ]] ||
        because "Ready has not been refreshed since $updated" || return 1
    [[ -n $secret ]] || because "the host has no jwtSecret in force" || return 1
    [[ $role == host ]] || because "the role of the host is ${role:-none}, not host" || return 1
    host_secret=$secret
    read_side member || because "the member cannot be read: $(said)" || return 1
    [[ $secret == "$host_secret" ]] || because "the jwtSecret of host and member differ" || return 1
    [[ $role == member ]] || because "the role of the member is ${role:-none}, not member" || return 1
    ask_host "/api/clusters/$cluster/v1/namespaces/kube-system" ||
        because "the host's ks-apiserver does not forward to the member: $code $(answer)" || return 1
    uid=$(sed -n 's/.*"uid": *"\([^"]*\)".*/\1/p' "$work/answer")
    [[ $uid == "$member_uid" ]] ||
        because "the host's ks-apiserver forwards to another cluster: kube-system UID ${uid:-none}, not $member_uid"
}

because() {
    reason=$1
    return 1
}

seconds_ago() { date -u -d "-$1 seconds" +%FT%TZ 2>/dev/null || date -u -v "-$1S" +%FT%TZ; }

# Ask the host's ks-apiserver with KubeSphere's own static token: answer in a file, HTTP code in `code`. The service
# proxy takes Authorization for itself, and kubectl sends no header of ours, so curl goes through `kubectl proxy`.
ask_host() {
    local header
    open_proxy
    rm -f "$work/answer"
    header=$(host get secret kubesphere-secret -n "$KS" -o jsonpath='{.data.token}' | base64 -d)
    code=$(printf 'header = "X-KubeSphere-Authorization: Bearer %s"\n' "$header" |
        curl --silent --show-error --max-time 30 --unix-socket "$work/socket" --config - --output "$work/answer" \
            --write-out '%{http_code}' "http://localhost$KS_APISERVER$1" 2>"$work/error") || code="no answer, $(said)"
    [[ $code == 200 ]]
}

answer() { if [[ -s $work/answer ]]; then head -c 300 "$work/answer" | tr '\n' ' '; fi; }

open_proxy() {
    [[ -z $proxy ]] || return 0
    # Not by `host`: then it would be a shell that is killed in the end, and not kubectl.
    "$KUBECTL" --kubeconfig "$host_kubeconfig" proxy --unix-socket "$work/socket" >"$work/proxy" 2>&1 &
    proxy=$!
    until [[ -S $work/socket ]]; do
        kill -0 "$proxy" 2>"$work/error" || fail "kubectl proxy does not start: $(tr '\n' ' ' <"$work/proxy")"
        sleep 0.05
    done
}

clean_up() {
    if [[ -n $proxy ]]; then
        kill "$proxy" 2>/dev/null || true
        wait "$proxy" 2>/dev/null || true
    fi
    rm -rf "$work"
}

[[ $# == [45] && -n $4 ]] || usage
way=$1 host_kubeconfig=$2 member_kubeconfig=$3 cluster=$4
wanted_server='' wanted_address=''
case $way in
direct) wanted_server=${5:-} ;;
proxy) wanted_address=${5:-} ;;
verify) [[ $# == 4 ]] || usage ;;
*) usage ;;
esac
proxy='' reason='' code=''
work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

member_uid=$(uid_of member)
if [[ $way != verify ]]; then
    prepare
    wait_installers
    if [[ $way == direct ]]; then import_directly; else import_by_proxy; fi
    wait_ready
fi
verify
