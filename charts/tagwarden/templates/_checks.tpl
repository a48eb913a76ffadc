{{/* Combinations of values that cannot work, or that would take a cluster down. Each fails with a sentence that names the values. */}}
{{- define "tagwarden.checks" -}}
{{- $fail := eq (include "tagwarden.failurePolicy" .) "Fail" }}
{{- $replicas := int .Values.replicaCount }}
{{- if has .Release.Namespace (list "default" "kube-system" "kube-public" "kube-node-lease") }}
{{- fail (printf "the namespace is %s: Tagwarden's namespace is never judged, so nothing else may run there; install into one of its own, for example with --namespace tagwarden --create-namespace" .Release.Namespace) }}
{{- end }}
{{- include "tagwarden.nameChecks" . }}
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
{{- if and .Values.tls.existingSecret (not .Values.tls.caBundle) (not (contains "inject-ca" (keys .Values.webhook.annotations | join " "))) }}
{{- fail "tls.existingSecret is set and tls.caBundle is empty: give the authority of that certificate, or an annotation in webhook.annotations that has it injected, for example cert-manager.io/inject-ca-from-secret" }}
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
{{- range $index, $entry := .Values.releases }}
{{- if and $entry.objects (not $.Values.imageReleases.enabled) }}
{{- fail (printf "releases[%d].objects is true and imageReleases.enabled is false: the server could not read ImageRelease objects; set imageReleases.enabled to true" $index) }}
{{- end }}
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
{{- if .Values.hostNetwork }}
{{- $taken := dict "2379" "etcd" "2380" "etcd" "6443" "the API server" "8080" "much else" "10248" "the kubelet" "10249" "kube-proxy" "10250" "the kubelet" "10256" "kube-proxy" "10257" "the controller manager" "10259" "the scheduler" }}
{{- range $value, $other := dict "containerPort" "10260, and open it from the API server to the nodes" "healthPort" "10261" }}
{{- $port := get $.Values $value | int }}
{{- with get $taken (toString $port) }}
{{- fail (printf "hostNetwork is true and %s is %d: on nodes %s listens there; choose another, for example %s" $value $port . $other) }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq (int .Values.containerPort) (int .Values.healthPort) }}
{{- fail (printf "containerPort and healthPort are both %d: they are two ports" (int .Values.containerPort)) }}
{{- end }}
{{- if eq (int .Values.service.port) (int .Values.healthPort) }}
{{- fail (printf "service.port and healthPort are both %d: the Service has a port for either; set another" (int .Values.service.port)) }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) }}
{{- range list "serviceMonitor" "prometheusRule" }}
{{- if (get $.Values .).enabled }}
{{- fail (printf "%s.enabled is true and networkPolicy.monitoring is empty: the NetworkPolicy would keep Prometheus out; list its namespaceSelector or podSelector there, or set networkPolicy.enabled to false" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- $historyFile := dig "history" "file" "" .Values.config }}
{{- if and .Values.history.volume (not (dig "history" "enabled" false .Values.config)) }}
{{- fail "history.volume is set and config.history.enabled is not true: nothing would be written there; set config.history.enabled to true" }}
{{- end }}
{{- if and .Values.history.volume (hasKey .Values.history.volume "name") }}
{{- fail "history.volume has a name: the chart names it; take that out" }}
{{- end }}
{{- if and .Values.history.volume $historyFile (not (hasPrefix "/var/lib/tagwarden/" $historyFile)) }}
{{- fail (printf "config.history.file is %s and history.volume is mounted at /var/lib/tagwarden: name a file there, or take one of the two out" $historyFile) }}
{{- end }}
{{- if and $historyFile (not .Values.history.volume) (not .Values.volumeMounts) }}
{{- fail (printf "config.history.file is %s and there is no volume to write to (the container's own files are read-only): set history.volume, or take the file out, and lines go to standard output" $historyFile) }}
{{- end }}
{{- $flags := list "config" "policies" "listen" "health-listen" "tls-cert" "tls-key" "max-mode" "no-cluster" "dev" }}
{{- range .Values.extraArgs }}
{{- if and (hasPrefix "--" .) (has (regexReplaceAll "(?s)=.*" . "" | trimPrefix "--") $flags) }}
{{- fail (printf "extraArgs has %s: what that flag sets is the chart's, and follows from other values; set these" (toJson .)) }}
{{- end }}
{{- end }}
{{- $variables := list "POD_NAMESPACE" }}
{{- range $flags }}
{{- $variables = append $variables (printf "TAGWARDEN_%s" (upper . | replace "-" "_")) }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if has .name $variables }}
{{- fail (printf "extraEnv has %s: what that variable sets is the chart's, and follows from other values; set these" .name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tagwarden.nameChecks" -}}
{{- $name := include "tagwarden.fullname" . }}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" $name) }}
{{- fail (printf "objects would be named %s (fullnameOverride, nameOverride, or the release's name): the Service's name starts with a letter and has only lower case letters, digits and '-'; set fullnameOverride" (toJson $name)) }}
{{- end }}
{{- if ne (toYaml $name) $name }}
{{- fail (printf "objects would be named %s (fullnameOverride, nameOverride, or the release's name), which YAML does not read as a text; set fullnameOverride" (toJson $name)) }}
{{- end }}
{{- range list "commonLabels" "podLabels" }}
{{- $value := . }}
{{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{- if hasKey (get $.Values $value) . }}
{{- fail (printf "%s has %s: our Service and policies select Pods by that label; take it out, or set nameOverride" $value .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
