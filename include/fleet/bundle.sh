#!/bin/sh
# Joins one KubeSphere cluster as a member to a host cluster. A run of join_member_cluster has made it for one join, and
# waits for its end. It holds the host's jwtSecret and the token of the member's agent: keep it like a password, and
# delete it and its copies afterwards.
#
#   sh THIS_FILE [--kubeconfig FILE] [--context NAME] [--check] [--yes]
#
# --check only looks. --yes does not ask before anything is changed. Needs sh, awk, sed, base64, and kubectl (or what
# $KUBECTL names) with an administrator of the member. Safe to run again: what is there already is left alone.
{ set +xv; } 2>/dev/null

@VALUES@
set -eu
umask 077

KUBECTL=${KUBECTL:-kubectl}
POLL=${POLL:-5}
FAILED_AFTER=${FAILED_AFTER:-60}
ROLLOUT_TIMEOUT=${ROLLOUT_TIMEOUT:-300}
KS=kubesphere-system
context='' confirmed='' only_check='' problems='' reason='' idle_since=''

say() { printf '%s\n' "$*"; }
fail() {
    printf 'Stopped: %s\n' "$*" >&2
    exit 1
}
usage() {
    sed -n '6,9s/^# *//p' "$0" >&2
    exit 2
}
problem() {
    problems="$problems
  - $*"
}
said() { tr '\n' ' ' <"$work/error"; }
now() { date +%s; }
on_member() { "$KUBECTL" ${context:+"--context=$context"} "$@"; }

while [ $# -gt 0 ]; do
    case $1 in
    --kubeconfig)
        [ $# -gt 1 ] || usage
        KUBECONFIG=$2
        export KUBECONFIG
        shift
        ;;
    --context)
        [ $# -gt 1 ] || usage
        context=$2
        shift
        ;;
    --check) only_check=yes ;;
    --yes) confirmed=yes ;;
    *) usage ;;
    esac
    shift
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# --- what is there ----------------------------------------------------------------------------------------------------

# What the cluster is asked for and has in force, by one call of kubectl.
read_member() {
    on_member -n "$KS" get clusterconfiguration/ks-installer configmap/kubesphere-config -o jsonpath='{.items[0].status.core.version}
{.items[0].metadata.labels.version}
{.items[0].metadata.resourceVersion}
{.items[0].spec.multicluster.clusterRole}
{.items[0].spec.multicluster.proxyPublishAddress}
{.items[0].spec.authentication.jwtSecret}
{.items[1].data.kubesphere\.yaml}' >"$work/side" 2>"$work/error" || return 1
    {
        IFS= read -r core_version
        IFS= read -r label_version
        IFS= read -r resource_version
        IFS= read -r asked_role
        IFS= read -r asked_address
        IFS= read -r asked_secret
    } <"$work/side"
    version=${core_version:-$label_version}
    sed '1,6d' "$work/side" >"$work/config"
    secret=$(in_force authentication jwtSecret)
    joined_as=$(in_force multicluster clusterName)
    role=$(in_force multicluster clusterRole)
    # Before 3.3 the file names no role: a host is enabled, a member's access tokens never expire.
    if [ -z "$role" ] && [ "$(in_force multicluster enable)" = true ]; then role=host; fi
    if [ -z "$role" ]; then
        case $(in_force authentication accessTokenMaxAge) in 0 | 0s) role=member ;; esac
    fi
}

# A value of kubesphere.yaml, quoted (by ks-installer) or not (by the host's controller).
in_force() {
    awk -v section="$1:" -v key="$2:" -v quotes="[\"']" '
        /^[^ ]/ { inside = ($1 == section) }
        inside && $1 == key { gsub("^" quotes "|" quotes "$", "", $2); print $2; exit }' "$work/config"
}

# The words of the agent that is there: its token among them, so they go through pipes only.
agent_words() {
    on_member -n "$KS" get deployment cluster-agent --ignore-not-found -o jsonpath='{range .spec.template.spec.containers[0].command[*]}{@}
{end}{range .spec.template.spec.containers[0].args[*]}{@}
{end}'
}

installer_pod() {
    on_member -n "$KS" get pods -l 'app in (ks-install, ks-installer)' --sort-by=.metadata.creationTimestamp \
        -o jsonpath='{.items[-1:].metadata.name}' 2>"$work/error"
}

# What ks-installer does: idle, running, or unknown.
installer_does() {
    case $(on_member get --raw "/api/v1/namespaces/$KS/pods/$(installer_pod):9115/proxy/queue" 2>"$work/error") in
    'Queue length 0'*) printf idle ;;
    'Queue length '*) printf running ;;
    *) printf unknown ;;
    esac
}

# --- may this cluster become that member? -----------------------------------------------------------------------------

check() {
    [ "$(now)" -lt "$valid_until" ] ||
        fail "this file was valid until $valid_until_text. Run the join again: it makes a new one."
    command -v "$KUBECTL" >/dev/null || fail "there is no kubectl here. Install it, or name it in KUBECTL."
    "$KUBECTL" patch --help 2>&1 | grep -q -e --patch-file ||
        fail "this kubectl has no patch --patch-file: take kubectl 1.21 or later, so that no secret is in an argument."
    uid=$(on_member get namespace kube-system -o jsonpath='{.metadata.uid}' 2>"$work/error") ||
        fail "kubectl cannot read the cluster${context:+ of context $context}: $(said)"
    say "Cluster:    $(on_member config view --minify -o jsonpath='{.clusters[0].cluster.server}') (kube-system UID $uid)"
    say "Context:    ${context:-$(on_member config current-context)}"
    say "To become:  member $cluster of the host with kube-system UID $host_uid (run $run)"
    say "Valid until $valid_until_text"
    check_cluster
    [ -z "$problems" ] || fail "this cluster cannot become that member, and nothing was changed:$problems"
    say "All checks passed."
}

check_cluster() {
    [ "$uid" != "$host_uid" ] || problem "This is the host cluster itself. Choose the member's context."
    [ -z "$member_uid" ] || [ "$uid" = "$member_uid" ] ||
        problem "$cluster is another cluster on the host (kube-system UID $member_uid). Choose its context."
    if ! read_member; then
        problem "ClusterConfiguration ks-installer and ConfigMap kubesphere-config in $KS cannot be read: $(said)" \
            "Is KubeSphere installed here, and finished?"
        return 0
    fi
    case $version in
    "v$release".* | "$release".*) ;;
    *) problem "KubeSphere here is ${version:-of unknown version}, the host has $release: they have to be of one minor version." ;;
    esac
    if [ "$asked_role" = host ] || [ "$role" = host ]; then
        problem "This is a host cluster itself: its members would lose their host. Take them out first."
    fi
    if [ "$role" = member ] && [ -n "$joined_as" ]; then
        if [ "$joined_as" != "$cluster" ]; then
            problem "This cluster is a member already, and its host calls it $joined_as. Take it out there first."
        elif [ "$secret" != "$jwt_secret" ] && [ "$uid" != "$member_uid" ]; then
            problem "This cluster belongs to another host, which calls it $joined_as, too. Take it out there first."
        fi
    fi
    available=$(on_member -n "$KS" get deployment ks-installer --ignore-not-found \
        -o jsonpath='{.status.availableReplicas}' 2>"$work/error") || available=
    [ "${available:-0}" -gt 0 ] ||
        problem "Deployment ks-installer in $KS is not available; it has to put the role in force. $(said)"
    [ -n "$(on_member -n "$KS" get serviceaccount kubesphere --ignore-not-found -o name)" ] ||
        problem "There is no ServiceAccount kubesphere in $KS, which the agent runs as. Is KubeSphere finished here?"
    check_agent
}

check_agent() {
    found=$(agent_words | sed -n 's/^--name=//p')
    leads=$(agent_words | sed -n 's/^--proxy-server=//p')
    if [ -n "$found" ] && [ "$found" != "$cluster" ]; then
        problem "An agent runs here as $found (Deployment cluster-agent in $KS). Take this cluster out there first."
    elif [ -n "$found" ] && [ "$leads" != "$tower" ] && [ "$secret" != "$jwt_secret" ]; then
        problem "An agent runs here for another host, at $leads. Take this cluster out there first."
    fi
}

confirm() {
    [ -z "$confirmed" ] || return 0
    printf 'Its users are logged out, and log in through the host from then on. Type %s to go on: ' "$cluster"
    IFS= read -r answer || answer=''
    [ "$answer" = "$cluster" ] || fail "not confirmed; nothing was changed."
}

# --- role and jwtSecret -----------------------------------------------------------------------------------------------

base64_of() { printf '%s' "$1" | base64 | tr -d '\n'; }

# What was before the first change, for the day on which this cluster leaves; never overwritten.
record_before() {
    [ -z "$(on_member -n "$KS" get secret before-join --ignore-not-found -o name)" ] || return 0
    kept=$(on_member -n "$KS" get secret kubesphere-secret --ignore-not-found -o jsonpath='{.data.secret}')
    on_member create -f - >/dev/null 2>"$work/error" <<END || fail "Secret before-join cannot be made: $(said)"
{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "before-join", "namespace": "$KS"},
 "data": {"clusterRole": "$(base64_of "${asked_role:-none}")", "jwtSecret": "$(base64_of "$asked_secret")",
 "secretInForce": "${kept:-$(base64_of "$secret")}", "proxyPublishAddress": "$(base64_of "$asked_address")",
 "recordedAt": "$(base64_of "$(date -u +%Y-%m-%dT%H:%M:%S+00:00)")", "recordedBy": "$(base64_of "$run")"}}
END
    say "Secret before-join in $KS keeps what was there before."
}

asks() { [ "$asked_role" = member ] && [ "$asked_secret" = "$jwt_secret" ]; }

# One patch, since two would be two runs of the installer; with the version that it rests on.
ask_configuration() {
    left=5
    until asks; do
        record_before
        if printf '{"metadata":{"resourceVersion":"%s"},"spec":{"authentication":{"jwtSecret":"%s"},"multicluster":{"clusterRole":"member"}}}' \
            "$resource_version" "$jwt_secret" |
            on_member -n "$KS" patch clusterconfiguration ks-installer --type merge --patch-file /dev/stdin \
                >/dev/null 2>"$work/error"; then
            say "ClusterConfiguration ks-installer asks for role member (was ${asked_role:-none}) and the host's jwtSecret ($fingerprint)."
            return 0
        fi
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "ClusterConfiguration ks-installer cannot be changed: $(said)"
        sleep 1
        read_member || true
    done
}

# --- what ks-installer makes of it ------------------------------------------------------------------------------------

wait_installer() {
    deadline=$(($(now) + installer_timeout))
    say "Waiting for ks-installer; this takes minutes."
    until finished; do
        [ "$(now)" -lt "$deadline" ] ||
            fail "ks-installer has not finished in $installer_timeout s: $reason. See: kubectl -n $KS logs deployment/ks-installer"
        sleep "$POLL"
    done
    say "Role member and the host's jwtSecret are in force."
    # Before 3.3 the installer restarts what has to load the file; later it reloads by itself.
    case $release in 3.0 | 3.1 | 3.2)
        on_member -n "$KS" rollout status deployment ks-apiserver --timeout="${ROLLOUT_TIMEOUT}s" >/dev/null 2>"$work/error" ||
            fail "Deployment ks-apiserver is not rolled out: $(said)"
        ;;
    esac
}

# Objects decide; the installer's queue tells a run that goes on from one that has given up.
finished() {
    if ! read_member; then
        reason="it cannot be read: $(said)"
        return 1
    fi
    # An installer that makes its ClusterConfiguration anew loses what was patched meanwhile.
    ask_configuration
    does=$(installer_does)
    if [ "$secret" = "$jwt_secret" ] && [ "$role" = member ]; then
        reason="its run is still finishing"
        [ "$does" != running ]
        return
    fi
    reason="ConfigMap kubesphere-config has role ${role:-none}, or another jwtSecret"
    if [ "$does" = idle ]; then idle_since=${idle_since:-$(now)}; else idle_since=''; fi
    [ -z "$idle_since" ] || [ $(($(now) - idle_since)) -lt "$FAILED_AFTER" ] ||
        fail "ks-installer is idle and has not done its work: $reason. See: kubectl -n $KS logs deployment/ks-installer" \
            "Mend the cause, start it anew (kubectl -n $KS rollout restart deployment ks-installer), and run this file again."
    return 1
}

# --- the agent --------------------------------------------------------------------------------------------------------

deploy_agent() {
    agent_manifest | on_member apply -f - >/dev/null 2>"$work/error" ||
        fail "Deployment cluster-agent cannot be applied: $(said)"
    on_member -n "$KS" rollout status deployment cluster-agent --timeout="${ROLLOUT_TIMEOUT}s" >/dev/null 2>"$work/error" ||
        fail "Deployment cluster-agent is not rolled out: $(said) See: kubectl -n $KS describe pods -l app=agent"
    say "Deployment cluster-agent runs in $KS, and connects to the host at $tower."
}

# Its log begins with its token: only these lines are shown. No complaint is the sign of success.
agent_complains() {
    on_member -n "$KS" logs deployment/cluster-agent --tail=50 2>/dev/null |
        grep -o -E '(Connection error:|invalid proxy|Authentication failed).*' | tail -n 1
}

check
[ -z "$only_check" ] || exit 0
confirm
ask_configuration
wait_installer
deploy_agent
sleep "$POLL"
complaint=$(agent_complains)
[ -z "$complaint" ] || say "The agent does not connect yet, it says: $complaint"
say "Done. The run goes on by itself when the agent has connected; whether it has, the host shows."
say "Delete this file and its copies now."
