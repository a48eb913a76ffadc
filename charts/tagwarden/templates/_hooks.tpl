{{/* Pods of our own image that run once: before an uninstall, and as `helm test`. */}}

{{/* Their labels. Argument: a list of root, component. The server's Service, budget and policy do not select them. */}}
{{- define "tagwarden.hookLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "tagwarden.name" $root | toYaml }}
app.kubernetes.io/instance: {{ $root.Release.Name | toYaml }}
app.kubernetes.io/component: {{ index . 1 }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Their PodSpec. Argument: a list of root, component, verb. */}}
{{- define "tagwarden.hookPod" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ include "tagwarden.fullname" $root }}-{{ index . 1 }}
automountServiceAccountToken: true
{{- with include "tagwarden.imagePullSecrets" $root }}
{{ . | trim }}
{{- end }}
restartPolicy: Never
securityContext: {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ index . 1 }}
    image: {{ include "tagwarden.image" $root }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [hook, {{ index . 2 }}, --config, /etc/tagwarden/config/config.yaml]
    env:
      - name: POD_NAMESPACE
        valueFrom:
          fieldRef:
            fieldPath: metadata.namespace
    securityContext: {{- toYaml $root.Values.securityContext | nindent 6 }}
    resources: {{- toYaml $root.Values.resources | nindent 6 }}
    volumeMounts:
      - name: config
        mountPath: /etc/tagwarden/config
        readOnly: true
      - name: policies
        mountPath: /etc/tagwarden/policies
        readOnly: true
volumes:
  - name: config
    configMap:
      name: {{ include "tagwarden.fullname" $root }}-config
  - name: policies
    configMap:
      name: {{ include "tagwarden.policyConfigMap" $root | toYaml }}
      optional: true
{{- end }}

{{/* Of what the test's Pod needs. Argument: the weight. */}}
{{- define "tagwarden.testAnnotations" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ quote . }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}
