{{/* What the webhooks have in common. */}}

{{/* Where the API server calls. Argument: a list of root, path. The caBundle is the server's or cert-manager's to fill in. */}}
{{- define "tagwarden.clientConfig" -}}
{{- $root := index . 0 -}}
service:
  namespace: {{ $root.Release.Namespace | toYaml }}
  name: {{ include "tagwarden.fullname" $root }}
  path: {{ index . 1 }}
  port: {{ $root.Values.service.port }}
{{- if $root.Values.tls.caBundle }}
caBundle: {{ $root.Values.tls.caBundle | b64enc }}
{{- end }}
{{- end }}

{{/* Namespaces are left out by name alone, which nobody who may label a namespace can change. */}}
{{- define "tagwarden.namespaceSelector" -}}
{{- $names := concat (list "kube-system" "kube-node-lease" .Release.Namespace) .Values.infrastructureNamespaces | uniq -}}
{{- with .Values.webhook.namespaceSelector.matchLabels -}}
matchLabels: {{- toYaml . | nindent 2 }}
{{ end -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: {{- toYaml $names | nindent 6 }}
  {{- with .Values.webhook.namespaceSelector.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Annotations of both configurations. */}}
{{- define "tagwarden.webhookAnnotations" -}}
{{- $annotations := deepCopy .Values.webhook.annotations }}
{{- if .Values.certManager.enabled }}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/%s" .Release.Namespace (include "tagwarden.fullname" .)) }}
{{- end }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
matchConditions keep the API server from calling when no image can have changed: labels, finalizers, scaling and
controllers' bookkeeping then work while this server is away. They compare whole lists: nothing in a list has to exist,
so no valid object makes them fail, and equality costs a tenth of a point an element.
*/}}
{{- define "tagwarden.podConditions" -}}
- name: images-may-have-changed
  expression: >-
    request.operation != "UPDATE"
    || object.?spec.?containers != oldObject.?spec.?containers
    || object.?spec.?initContainers != oldObject.?spec.?initContainers
    || object.?spec.?ephemeralContainers != oldObject.?spec.?ephemeralContainers
    || object.?spec.?volumes != oldObject.?spec.?volumes
{{- with .Values.webhook.matchConditions }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* One condition for every kind: where a kind has no such field both sides are absent, hence equal. */}}
{{- define "tagwarden.workloadConditions" -}}
- name: images-may-have-changed
  expression: >-
    request.operation != "UPDATE"
    || object.?spec.?template.?spec.?containers != oldObject.?spec.?template.?spec.?containers
    || object.?spec.?template.?spec.?initContainers != oldObject.?spec.?template.?spec.?initContainers
    || object.?spec.?template.?spec.?ephemeralContainers != oldObject.?spec.?template.?spec.?ephemeralContainers
    || object.?spec.?template.?spec.?volumes != oldObject.?spec.?template.?spec.?volumes
    || object.?template.?spec.?containers != oldObject.?template.?spec.?containers
    || object.?template.?spec.?initContainers != oldObject.?template.?spec.?initContainers
    || object.?template.?spec.?ephemeralContainers != oldObject.?template.?spec.?ephemeralContainers
    || object.?template.?spec.?volumes != oldObject.?template.?spec.?volumes
    || object.?spec.?jobTemplate.?spec.?template.?spec.?containers
    != oldObject.?spec.?jobTemplate.?spec.?template.?spec.?containers
    || object.?spec.?jobTemplate.?spec.?template.?spec.?initContainers
    != oldObject.?spec.?jobTemplate.?spec.?template.?spec.?initContainers
    || object.?spec.?jobTemplate.?spec.?template.?spec.?ephemeralContainers
    != oldObject.?spec.?jobTemplate.?spec.?template.?spec.?ephemeralContainers
    || object.?spec.?jobTemplate.?spec.?template.?spec.?volumes
    != oldObject.?spec.?jobTemplate.?spec.?template.?spec.?volumes
{{- with .Values.webhook.matchConditions }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Pods, and what changes the images of running ones. */}}
{{- define "tagwarden.podRules" -}}
- {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods], scope: Namespaced}
- {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods/ephemeralcontainers], scope: Namespaced}
{{- end }}
