{{/* Names, labels and the image. */}}

{{- define "tagwarden.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of nearly every object. At most 46 characters, so that what is appended still fits into 63. */}}
{{- define "tagwarden.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" }}
{{- else if contains (include "tagwarden.name" .) .Release.Name }}
{{- .Release.Name | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tagwarden.name" .) | trunc 46 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tagwarden.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tagwarden.fullname" .) .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.name }}
{{- .Values.serviceAccount.name }}
{{- else }}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty: name the account that the server runs as" }}
{{- end }}
{{- end }}

{{- define "tagwarden.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tagwarden.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
app.kubernetes.io/component: webhook
{{- end }}

{{/* Labels of every object; what tells parts apart goes before what users add. */}}
{{- define "tagwarden.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "tagwarden.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" (trimPrefix "v" .Chart.AppVersion)
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own .Values.commonLabels) }}
{{- end }}

{{/* repository:tag@digest, with the host of global.imageRegistry where there is one. */}}
{{- define "tagwarden.image" -}}
{{- $repository := .Values.image.repository }}
{{- $registry := (.Values.global).imageRegistry }}
{{- if $registry }}
{{- $parts := splitList "/" $repository }}
{{- $first := first $parts }}
{{- if and (gt (len $parts) 1) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}
{{- $repository = rest $parts | join "/" }}
{{- end }}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository }}
{{- end }}
{{- $tag := default .Chart.AppVersion .Values.image.tag }}
{{- if .Values.image.digest }}
{{- printf "%s:%s@%s" $repository $tag .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository $tag }}
{{- end }}
{{- end }}

{{- define "tagwarden.imagePullSecrets" -}}
{{- $all := concat (default list (.Values.global).imagePullSecrets) .Values.imagePullSecrets }}
{{- with $all }}
imagePullSecrets:
{{- range . }}
  - name: {{ kindIs "string" . | ternary . (get (kindIs "string" . | ternary dict .) "name") | toYaml }}
{{- end }}
{{- end }}
{{- end }}

{{/* Which of the three certificate modes: self-managed, cert-manager, existing. */}}
{{- define "tagwarden.tlsMode" -}}
{{- if .Values.certManager.enabled -}} cert-manager
{{- else if .Values.tls.existingSecret -}} existing
{{- else -}} self-managed
{{- end }}
{{- end }}

{{/* The life of a certificate in seconds. */}}
{{- define "tagwarden.leafSeconds" -}}
{{- include "tagwarden.seconds" .Values.tls.leafLifetime }}
{{- end }}

{{- define "tagwarden.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "tagwarden.fullname" .)) }}
{{- end }}

{{/* What the validating webhook on Pods does while nobody answers. */}}
{{- define "tagwarden.failurePolicy" -}}
{{- .Values.webhook.failurePolicy | default (eq .Values.maxMode "enforce" | ternary "Fail" "Ignore") }}
{{- end }}

{{- define "tagwarden.policyConfigMap" -}}
{{- .Values.existingPolicyConfigMap | default (printf "%s-policies" (include "tagwarden.fullname" .)) }}
{{- end }}

{{- define "tagwarden.subjects" -}}
- kind: ServiceAccount
  name: {{ include "tagwarden.serviceAccountName" . | toYaml }}
  namespace: {{ .Release.Namespace | toYaml }}
{{- end }}
