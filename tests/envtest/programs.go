//go:build tools

// Package envtest names the programs that are built from go.mod, so that `go mod tidy` keeps what they need.
package envtest

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
