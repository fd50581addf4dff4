#!/usr/bin/env bash
# Gives Airflow its rights on one cluster and prints the Airflow connection, one line of JSON that holds the token.
#
#   deploy/rbac/connection.sh host|member [--context CONTEXT]
#
# CONTEXT is one of your kubeconfig, of a cluster-admin; without it the current one is used. Its server and certificate
# authority go into the connection, so Airflow has to reach the cluster at the same address. What is there already is
# left alone: it is safe to run again, and prints the same.
#
#   export AIRFLOW_CONN_HOST="$(deploy/rbac/connection.sh host --context HOST)"
#
# Needs bash and kubectl 1.19 or later (or what $KUBECTL names). Nothing is written to a disk, and the token is in no
# argument of any process. Exit code 0: printed; 1: not; 2: usage. TOKEN_TIMEOUT: seconds to wait at most for the token.
set -euo pipefail

KUBECTL=${KUBECTL:-kubectl}
TOKEN_TIMEOUT=${TOKEN_TIMEOUT:-30}

KS=kubesphere-system
NAME=join-member-cluster

say() { printf 'connection: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}
usage() {
    sed -n '4s/^# *//p' "$0" >&2
    exit 2
}
ask() { "$KUBECTL" --context "$context" "$@"; }

context=
case ${1:-} in
host | member) role=$1 ;;
*) usage ;;
esac
shift
while (($#)); do
    case $1 in
    --context=?*) context=${1#*=} ;;
    --context)
        context=${2:-}
        [[ -n $context ]] || usage
        shift
        ;;
    *) usage ;;
    esac
    shift
done

[[ -n $context ]] || context=$("$KUBECTL" config current-context) ||
    fail "your kubeconfig has no current context: give --context."
"$KUBECTL" config get-contexts "$context" >/dev/null 2>&1 ||
    fail "there is no context $context in your kubeconfig. kubectl config get-contexts lists those that there are."
ask get namespace "$KS" >/dev/null ||
    fail "namespace $KS of context $context cannot be read. KubeSphere has to be installed there."

# A map of the kubeconfig, as JSON: server, certificate authority, and what else it takes to reach the cluster.
cluster=$(ask config view --raw --flatten --minify -o jsonpath='{.clusters[0].cluster}')
[[ $cluster == '{"'* ]] || fail "$KUBECTL is too old: 1.19 is the first that prints JSON here."
[[ $cluster != *'"insecure-skip-tls-verify":true'* ]] ||
    fail "context $context does not verify the server's certificate. Give it a certificate authority first."

ask apply -f "$(dirname "$0")/$role.yaml" >&2

deadline=$((SECONDS + TOKEN_TIMEOUT))
until token=$(ask get secret "$NAME-token" -n "$KS" -o go-template='{{.data.token | base64decode}}' 2>/dev/null) &&
    [[ $token == *.*.* ]]; do
    ((SECONDS < deadline)) ||
        fail "Secret $NAME-token in $KS has no token after $TOKEN_TIMEOUT s. Does kube-controller-manager run there?"
    sleep 0.5
done

# printf is part of the shell, so this is no process with arguments either.
printf '{"conn_type": "kubernetes", "extra": {"kube_config": {"apiVersion": "v1", "kind": "Config", '
printf '"current-context": "%s", "contexts": [{"name": "%s", "context": {"cluster": "%s", "user": "%s"}}], ' \
    "$role" "$role" "$role" "$NAME"
printf '"clusters": [{"name": "%s", "cluster": %s}], "users": [{"name": "%s", "user": {"token": "%s"}}]}}}\n' \
    "$role" "$cluster" "$NAME" "$token"

[[ $role == host ]] ||
    say "what the host receives in a direct join has to be cluster-admin: give another connection as import_conn_id."
