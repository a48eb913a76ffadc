//go:build tools

// Package assets names the Kubernetes programs that the suite against a real API server starts, so
// that their versions are pinned and checked like those of any other dependency.
package assets

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
