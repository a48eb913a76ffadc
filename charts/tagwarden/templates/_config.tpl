{{/* The server's configuration: what the chart derives, and `config` under it. */}}

{{/* What the chart derives, as YAML. Every key of it is the chart's own. */}}
{{- define "tagwarden.derivedConfig" -}}
{{- $name := include "tagwarden.fullname" . -}}
{{- $mode := include "tagwarden.tlsMode" . -}}
{{- $host := contains ":" .Values.listenAddress | ternary (printf "[%s]" .Values.listenAddress) .Values.listenAddress -}}
listen:
  webhook: {{ printf "%s:%d" $host (int .Values.containerPort) | quote }}
  health: {{ printf "%s:%d" $host (int .Values.healthPort) | quote }}
tls:
  {{- if eq $mode "self-managed" }}
  mode: self-managed
  service: {{ $name }}
  leafLifetime: {{ .Values.tls.leafLifetime }}
  caLifetime: {{ .Values.tls.caLifetime }}
  {{- else }}
  mode: files
  cert: /etc/tagwarden/tls/tls.crt
  key: /etc/tagwarden/tls/tls.key
  {{- end }}
  {{- if .Values.clientAuthentication.enabled }}
  clientCA: /etc/tagwarden/client-ca/ca.crt
  {{- with .Values.clientAuthentication.names }}
  clientNames: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
webhooks:
  validating: {{ $name }}
  mutating: {{ $name }}
policies:
  dirs: [/etc/tagwarden/policies]
  maxMode: {{ .Values.maxMode }}
  {{- if .Values.imagePolicies.enabled }}
  objects: true
  {{- end }}
{{- with .Values.trustedNamespaceLabels }}
trustedNamespaceLabels: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.infrastructureNamespaces }}
infrastructureNamespaces: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.releases }}
releases:
  {{- range . }}
  {{- if .objects }}
  - objects: true
  {{- else }}
  - dir: /etc/tagwarden/releases/{{ .configMap }}
  {{- end }}
    {{- with omit . "configMap" "objects" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if and .Values.history.volume (not (dig "history" "file" "" .Values.config)) }}
history:
  file: /var/lib/tagwarden/history.jsonl
{{- end }}
{{- if .Values.pullSecrets.enabled }}
pullSecrets:
  enabled: true
{{- end }}
{{- end }}

{{/* Fails where `config` says something else about a key of the chart's. Argument: a list of root, derived. */}}
{{- define "tagwarden.checkOwnedKeys" -}}
{{- $root := index . 0 -}}
{{- $derived := index . 1 -}}
{{- $owners := dict
  "listen.webhook" "containerPort and listenAddress"
  "listen.health" "healthPort and listenAddress"
  "tls.mode" "certManager and tls"
  "tls.cert" "certManager and tls"
  "tls.key" "certManager and tls"
  "tls.service" "fullnameOverride"
  "tls.leafLifetime" "tls.leafLifetime"
  "tls.caLifetime" "tls.caLifetime"
  "tls.clientCA" "clientAuthentication"
  "tls.clientNames" "clientAuthentication"
  "webhooks.validating" "fullnameOverride"
  "webhooks.mutating" "fullnameOverride"
  "policies.dirs" "policies and existingPolicyConfigMap"
  "policies.objects" "imagePolicies.enabled"
  "policies.maxMode" "maxMode"
  "trustedNamespaceLabels" "trustedNamespaceLabels"
  "infrastructureNamespaces" "infrastructureNamespaces"
  "releases" "releases"
  "pullSecrets.enabled" "pullSecrets" -}}
{{- range $path, $owner := $owners }}
{{- $keys := splitList "." $path }}
{{- $written := $root.Values.config }}
{{- $known := $derived }}
{{- $there := true }}
{{- range $keys }}
{{- if and $there (kindIs "map" $written) (hasKey $written .) }}
{{- $written = get $written . }}
{{- else }}
{{- $there = false }}
{{- end }}
{{- $known = kindIs "map" $known | ternary (get (kindIs "map" $known | ternary $known dict) .) "" }}
{{- end }}
{{- if and $there (ne (toJson $written) (toJson $known)) }}
{{- fail (printf "config.%s is %s: this key is the chart's and follows from %s; set that and take this out of config" $path (toJson $written) $owner) }}
{{- end }}
{{- end }}
{{- end }}

{{/* `registries` of `config`, with the mounted credentials added to their hosts. */}}
{{- define "tagwarden.registries" -}}
{{- $registries := list }}
{{- $used := dict }}
{{- range $index, $registry := default list .Values.config.registries }}
{{- $entry := deepCopy $registry }}
{{- $host := get $entry "host" }}
{{- if not $host }}
{{- fail (printf "config.registries[%d] has no host: name the registry's host, as policies write it" $index) }}
{{- end }}
{{- range $.Values.registryCredentials }}
{{- if eq .host $host }}
{{- if hasKey $entry "credentials" }}
{{- fail (printf "registryCredentials and config.registries both name credentials for %s: keep one of them" $host) }}
{{- end }}
{{- $_ := set $used .host true }}
{{- $_ := set $entry "credentials" (dict "dockerConfig" (printf "/etc/tagwarden/registry-credentials/%s/.dockerconfigjson" .secretName)) }}
{{- with .namespaces }}
{{- $_ := set $entry "credentialNamespaces" . }}
{{- end }}
{{- end }}
{{- end }}
{{- $registries = append $registries $entry }}
{{- end }}
{{- range .Values.registryCredentials }}
{{- if not (hasKey $used .host) }}
{{- $_ := set $used .host true }}
{{- $entry := dict "host" .host "credentials" (dict "dockerConfig" (printf "/etc/tagwarden/registry-credentials/%s/.dockerconfigjson" .secretName)) }}
{{- with .namespaces }}
{{- $_ := set $entry "credentialNamespaces" . }}
{{- end }}
{{- $registries = append $registries $entry }}
{{- end }}
{{- end }}
{{- toYaml (dict "registries" $registries) }}
{{- end }}

{{/* The whole file. */}}
{{- define "tagwarden.config" -}}
{{- $derived := include "tagwarden.derivedConfig" . | fromYaml }}
{{- include "tagwarden.checkOwnedKeys" (list . $derived) }}
{{- $config := mergeOverwrite (deepCopy .Values.config) $derived }}
{{- $registries := include "tagwarden.registries" . | fromYaml }}
{{- if $registries.registries }}
{{- $_ := set $config "registries" $registries.registries }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/*
What rolls the Pods when it changes: the server's file. Most of its keys reload, but a mounted ConfigMap takes up to a minute
and a half to change: `helm upgrade --wait` is to end when `maxMode: enforce` holds, and a file with a mistake is to stop the
rollout at once instead of waiting for the next node drain. Policies roll nothing.
*/}}
{{- define "tagwarden.configChecksum" -}}
{{- include "tagwarden.config" . | sha256sum }}
{{- end }}

{{/* The ports at which registries listen, as far as values say: those of their hosts and endpoints, and of images in policies. */}}
{{- define "tagwarden.registryPorts" -}}
{{- $ports := list }}
{{- range (include "tagwarden.registries" . | fromYaml).registries }}
{{- $address := printf "%s://%s/" (ternary "http" "https" (default false .insecure)) .host }}
{{- range compact (list $address (get . "endpoint")) }}
{{- $authority := regexReplaceAll "^[a-z]+://([^/]*).*$" . "${1}" }}
{{- if regexMatch ":[0-9]+$" $authority }}
{{- $ports = append $ports (splitList ":" $authority | last | int) }}
{{- else }}
{{- $ports = append $ports (hasPrefix "http://" . | ternary 80 443) }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.policies }}
{{- $text := kindIs "string" . | ternary . (toJson .) }}
{{- range regexFindAll "(?m)(^|[\\s\"'\\[,])[A-Za-z0-9.*_-]+:[0-9]{1,5}/" $text -1 }}
{{- $ports = append $ports (regexFind ":[0-9]+/" . | trimAll ":/" | int) }}
{{- end }}
{{- end }}
{{- toYaml (dict "ports" $ports) }}
{{- end }}

{{/* The seconds of config.shutdownDelay. */}}
{{- define "tagwarden.shutdownSeconds" -}}
{{- include "tagwarden.seconds" (.Values.config.shutdownDelay | default "15s" | toString) }}
{{- end }}

{{/* A duration in seconds, rounded up. Argument: `168h`, `1h30m`, `2.5s`, `500ms`. */}}
{{- define "tagwarden.seconds" -}}
{{- $seconds := 0.0 }}
{{- range regexFindAll "[0-9]+([.][0-9]+)?(h|ms|m|s|us|µs|ns)" . -1 }}
{{- $unit := get (dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001) (regexFind "[a-zµ]+$" .) | default 0.0 }}
{{- $seconds = addf $seconds (mulf (regexFind "^[0-9.]+" . | float64) $unit) }}
{{- end }}
{{- ceil $seconds | int64 }}
{{- end }}

{{/* The ConfigMap's key of one inline policy. Argument: a dict of index, document. */}}
{{- define "tagwarden.policyKey" -}}
{{- if kindIs "string" .document }}
{{- printf "policy-%d.yaml" .index }}
{{- else }}
{{- printf "%s.yaml" (dig "metadata" "name" (printf "policy-%d" .index) .document) }}
{{- end }}
{{- end }}
