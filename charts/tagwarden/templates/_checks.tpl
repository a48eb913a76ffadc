{{/* Combinations of values that cannot work, or that would take a cluster down. Each fails with a sentence that names the values. */}}
{{- define "tagwarden.checks" -}}
{{- $fail := eq (include "tagwarden.failurePolicy" .) "Fail" }}
{{- $replicas := int .Values.replicaCount }}
{{- if has .Release.Namespace (list "kube-system" "kube-public" "kube-node-lease") }}
{{- fail (printf "the namespace is %s: it is excluded by name so that the cluster can come up; install into one of Tagwarden's own, for example with --namespace tagwarden --create-namespace" .Release.Namespace) }}
{{- end }}
{{- if lt $replicas 1 }}
{{- fail "replicaCount is 0: nobody would answer the API server; set it to 2, or uninstall" }}
{{- end }}
{{- if and $fail (lt $replicas 2) (not .Values.webhook.allowSingleReplicaFail) }}
{{- fail "replicaCount is 1 and failurePolicy is Fail (webhook.failurePolicy, or maxMode: enforce): every restart would refuse Pods; set replicaCount to 2, or webhook.allowSingleReplicaFail to true" }}
{{- end }}
{{- if and (or $fail (eq .Values.maxMode "enforce")) (not .Values.infrastructureNamespaces) (not .Values.infrastructureNamespacesReviewed) }}
{{- fail "maxMode is enforce or webhook.failurePolicy is Fail, and infrastructureNamespaces is empty: list the namespaces that the cluster needs to come up (CNI, CSI, cert-manager, a registry in the cluster), or set infrastructureNamespacesReviewed to true if there are none" }}
{{- end }}
{{- if .Values.podDisruptionBudget.enabled }}
{{- $minimum := .Values.podDisruptionBudget.minAvailable }}
{{- $available := int $minimum }}
{{- if kindIs "string" $minimum }}
{{- $available = divf (mulf (trimSuffix "%" $minimum | float64) $replicas) 100 | ceil | int }}
{{- end }}
{{- if ge $available $replicas }}
{{- fail (printf "podDisruptionBudget.minAvailable is %v and replicaCount is %d: no node could ever be drained; lower the one, raise the other, or set podDisruptionBudget.enabled to false" $minimum $replicas) }}
{{- end }}
{{- end }}
{{- $timeout := int .Values.webhook.timeoutSeconds }}
{{- if or (lt $timeout 1) (gt $timeout 30) }}
{{- fail (printf "webhook.timeoutSeconds is %d: the API server takes 1 to 30" $timeout) }}
{{- end }}
{{- $needed := add (include "tagwarden.shutdownSeconds" . | int) $timeout }}
{{- if le (int .Values.terminationGracePeriodSeconds) (int $needed) }}
{{- fail (printf "terminationGracePeriodSeconds is %d: config.shutdownDelay and webhook.timeoutSeconds take %d, and calls would be cut off; set it higher" (int .Values.terminationGracePeriodSeconds) (int $needed)) }}
{{- end }}
{{- include "tagwarden.certificateChecks" . }}
{{- include "tagwarden.policyChecks" . }}
{{- include "tagwarden.podChecks" . }}
{{- end }}

{{- define "tagwarden.certificateChecks" -}}
{{- if and .Values.certManager.enabled .Values.tls.existingSecret }}
{{- fail "certManager.enabled is true and tls.existingSecret is set: these are two certificate modes; choose one" }}
{{- end }}
{{- if and .Values.tls.caBundle (not .Values.tls.existingSecret) }}
{{- fail "tls.caBundle is set without tls.existingSecret: in the other certificate modes the bundle is filled in by who makes the certificate; take it out" }}
{{- end }}
{{- if and .Values.tls.existingSecret (not .Values.tls.caBundle) (not .Values.webhook.annotations) }}
{{- fail "tls.existingSecret is set and tls.caBundle is empty: give the authority of that certificate, or an annotation in webhook.annotations that has it injected" }}
{{- end }}
{{- if and .Values.certManager.issuerRef (not .Values.certManager.enabled) }}
{{- fail "certManager.issuerRef is set and certManager.enabled is false: nobody would ask that issuer" }}
{{- end }}
{{- if and .Values.certManager.enabled (lt (include "tagwarden.leafSeconds" . | int64) 3600) }}
{{- fail (printf "certManager.enabled is true and tls.leafLifetime is %s: cert-manager makes no certificate that lives less than an hour" .Values.tls.leafLifetime) }}
{{- end }}
{{- if and .Values.clientAuthentication.enabled (not .Values.clientAuthentication.secretName) }}
{{- fail "clientAuthentication.enabled is true and clientAuthentication.secretName is empty: name the Secret whose ca.crt is the authority of the API server's client certificate" }}
{{- end }}
{{- if and (not .Values.clientAuthentication.enabled) (or .Values.clientAuthentication.secretName .Values.clientAuthentication.names) }}
{{- fail "clientAuthentication.secretName or clientAuthentication.names is set and clientAuthentication.enabled is false: callers would not be asked for a certificate" }}
{{- end }}
{{- end }}

{{- define "tagwarden.policyChecks" -}}
{{- if and (not .Values.policies) (not .Values.existingPolicyConfigMap) (not .Values.imagePolicies.enabled) (not (dig "policies" "allowEmpty" false .Values.config)) }}
{{- fail "policies is empty, existingPolicyConfigMap is not set and imagePolicies.enabled is false: there would be no policy; give one, or say that you mean it by config.policies.allowEmpty: true" }}
{{- end }}
{{- $default := list (.Files.Get "files/no-floating-tags.yaml" | fromYaml) }}
{{- if and .Values.policies .Values.existingPolicyConfigMap (ne (toJson .Values.policies) (toJson $default)) }}
{{- fail "policies and existingPolicyConfigMap are both set: keep one of them" }}
{{- end }}
{{- $keys := dict }}
{{- range $index, $document := .Values.policies }}
{{- $key := include "tagwarden.policyKey" (dict "index" $index "document" $document) }}
{{- if hasKey $keys $key }}
{{- fail (printf "policies names two policies %s: names are unique" (trimSuffix ".yaml" $key)) }}
{{- end }}
{{- $_ := set $keys $key true }}
{{- end }}
{{- if and .Values.namespaceLabelGuard.enabled (not .Values.trustedNamespaceLabels) }}
{{- fail "namespaceLabelGuard.enabled is true and trustedNamespaceLabels is empty: there is no label to guard; list the keys that your policies use" }}
{{- end }}
{{- if and .Values.pullSecrets.namespaces (not .Values.pullSecrets.enabled) }}
{{- fail "pullSecrets.namespaces is set and pullSecrets.enabled is false: nothing would be read there; set pullSecrets.enabled to true" }}
{{- end }}
{{- if and .Values.pullSecrets.clusterWide (not .Values.pullSecrets.enabled) }}
{{- fail "pullSecrets.clusterWide is true and pullSecrets.enabled is false: nothing would be read; set pullSecrets.enabled to true" }}
{{- end }}
{{- if and .Values.pullSecrets.clusterWide .Values.pullSecrets.namespaces }}
{{- fail "pullSecrets.clusterWide is true and pullSecrets.namespaces is set: all namespaces include these; keep one of them" }}
{{- end }}
{{- if and .Values.pullSecrets.enabled (not .Values.pullSecrets.clusterWide) (not .Values.pullSecrets.namespaces) }}
{{- fail "pullSecrets.enabled is true, pullSecrets.namespaces is empty and pullSecrets.clusterWide is false: say where Secrets may be read" }}
{{- end }}
{{- $hosts := dict }}
{{- range .Values.registryCredentials }}
{{- if hasKey $hosts .host }}
{{- fail (printf "registryCredentials names %s twice: one entry says everything about a registry" .host) }}
{{- end }}
{{- $_ := set $hosts .host true }}
{{- end }}
{{- end }}

{{- define "tagwarden.podChecks" -}}
{{- if and .Values.hostNetwork (eq (int .Values.containerPort) 10250) }}
{{- fail "hostNetwork is true and containerPort is 10250: the kubelet listens there; choose another, for example 10260, and open it from the API server to the nodes" }}
{{- end }}
{{- if eq (int .Values.containerPort) (int .Values.healthPort) }}
{{- fail (printf "containerPort and healthPort are both %d: they are two ports" (int .Values.containerPort)) }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) }}
{{- fail "serviceMonitor.enabled is true and networkPolicy.monitoring is empty: the NetworkPolicy would keep Prometheus out; list its namespaceSelector or podSelector there, or set networkPolicy.enabled to false" }}
{{- end }}
{{- end }}
