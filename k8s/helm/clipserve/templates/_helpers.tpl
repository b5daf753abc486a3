{{- define "clipserve.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "clipserve.fullname" -}}
{{- $name := include "clipserve.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that never change: (dict "root" $ "part" "gateway") */}}
{{- define "clipserve.selector" -}}
app.kubernetes.io/name: {{ include "clipserve.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- with .model }}
clipserve/model: {{ . }}
{{- end }}
{{- end -}}

{{- define "clipserve.labels" -}}
{{ include "clipserve.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: clipserve
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "clipserve.image" -}}
{{- $images := .root.Values.images -}}
{{- $own := index $images .part -}}
{{- $path := ternary (printf "%s/%s" (trimSuffix "/" $images.registry) .part) (printf "clipserve/%s" .part) (ne $images.registry "") -}}
{{- default (printf "%s:%s" $path (default .root.Chart.AppVersion $images.tag)) $own -}}
{{- end -}}

{{/* What every pod has: no root, no token, the profile `restricted` of Pod Security. */}}
{{- define "clipserve.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "clipserve.placement" -}}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "clipserve.spread" -}}
{{- if .root.Values.topologySpread.enabled }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: {{ .root.Values.topologySpread.key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "clipserve.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{- define "clipserve.locked" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* New connections stop coming before the process is told to stop. */}}
{{- define "clipserve.preStop" -}}
preStop:
{{- if semverCompare ">=1.30.0-0" .root.Capabilities.KubeVersion.Version }}
  sleep: {seconds: {{ .seconds }}}
{{- else }}
  exec: {command: [sleep, {{ .seconds | quote }}]}
{{- end }}
{{- end -}}

{{- define "clipserve.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{- define "clipserve.encoder" -}}
{{- printf "%s-encoder-%s" (include "clipserve.fullname" .root) (.model | lower | replace "." "-" | replace "_" "-" | trunc 14 | trimSuffix "-") -}}
{{- end -}}

{{- define "clipserve.scaler" -}}
{{- include "clipserve.encoder" . | replace (printf "%s-encoder-" (include "clipserve.fullname" .root)) (printf "%s-scaler-" (include "clipserve.fullname" .root)) -}}
{{- end -}}

{{/* The models with their defaults, as JSON. */}}
{{- define "clipserve.models" -}}
{{- $models := list -}}
{{- range .Values.models -}}
  {{- $models = append $models (mergeOverwrite (deepCopy $.Values.modelDefaults) (dict "prefix" .name "default" false) .) -}}
{{- end -}}
{{- toJson $models -}}
{{- end -}}

{{/* The models of one kind of autoscaling, as JSON: (dict "root" $ "kind" "scaler") */}}
{{- define "clipserve.modelsScaledBy" -}}
{{- $found := list -}}
{{- range include "clipserve.models" .root | fromJsonArray -}}
  {{- if eq .autoscaling.kind $.kind -}}{{- $found = append $found . -}}{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Whether a model may have no encoder for a while. */}}
{{- define "clipserve.toZero" -}}
{{- range include "clipserve.models" . | fromJsonArray -}}
  {{- if and (has .autoscaling.kind (list "keda" "scaler")) (eq (int .autoscaling.minReplicas) 0) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* Whether there may be more than one gateway. */}}
{{- define "clipserve.several" -}}
{{- if or (gt (int .Values.gateway.replicas) 1) .Values.gateway.autoscaling.enabled }}true{{ end -}}
{{- end -}}

{{/* Faults that a schema can't say. */}}
{{- define "clipserve.check" -}}
{{- $names := list -}}
{{- $encoders := list -}}
{{- $defaults := list -}}
{{- range include "clipserve.models" . | fromJsonArray -}}
  {{- if has .name $names -}}{{- fail (printf "models: two models are named %q: each needs a name of its own" .name) -}}{{- end -}}
  {{- $encoder := include "clipserve.encoder" (dict "root" $ "model" .name) -}}
  {{- if has $encoder $encoders -}}{{- fail (printf "models: %q has the same first 14 letters as another model, so both encoders would be named %s" .name $encoder) -}}{{- end -}}
  {{- $names = append $names .name -}}
  {{- $encoders = append $encoders $encoder -}}
  {{- if .default -}}{{- $defaults = append $defaults .name -}}{{- end -}}
  {{- if gt .autoscaling.minReplicas .autoscaling.maxReplicas -}}{{- fail (printf "models: autoscaling.minReplicas of %q is above its maxReplicas" .name) -}}{{- end -}}
  {{- if and (eq .autoscaling.kind "keda") (not .autoscaling.prometheus) -}}{{- fail (printf "models: %q scales by KEDA: set autoscaling.prometheus to the address of a Prometheus" .name) -}}{{- end -}}
{{- end -}}
{{- if include "clipserve.modelsScaledBy" (dict "root" $ "kind" "scaler") | fromJsonArray -}}
  {{- include "clipserve.checkSecret" (dict "root" . "secret" .Values.scaler.key "value" "scaler.key") -}}
{{- end -}}
{{- if gt (len $defaults) 1 -}}{{- fail (printf "models: %s all say default: true; one may" (join ", " $defaults)) -}}{{- end -}}
{{- range tuple "CLIPSERVE_GATEWAY_KEYS_FILE" "CLIPSERVE_GATEWAY_PICTURES" -}}
  {{- if and (hasKey $.Values.gateway.env .) (not $.Values.gateway.persistence.enabled) -}}
    {{- fail (printf "gateway.env.%s is about files on one gateway's disk: set gateway.persistence.enabled, and gateway.replicas to 1" .) -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.gateway.persistence.enabled (include "clipserve.several" .) -}}
  {{- fail "gateway.persistence keeps jobs and pictures on one gateway's disk: set gateway.replicas to 1 and autoscaling off, or turn persistence off" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}{{- fail "ingress.hosts is empty: name a host" -}}{{- end -}}
{{- if and .Values.snapshots.enabled (not (and .Values.snapshots.upload.image .Values.snapshots.upload.command)) -}}{{- fail "snapshots.upload needs an image and a command that uploads /snapshots" -}}{{- end -}}
{{- if ne (empty .Values.snapshots.restore.image) (empty .Values.snapshots.restore.command) -}}{{- fail "snapshots.restore needs an image and a command that downloads to /data/restore" -}}{{- end -}}
{{- if and .Values.route.enabled (not .Values.route.parents) -}}{{- fail "route.parents is empty: name the Gateway that the route belongs to" -}}{{- end -}}
{{- include "clipserve.checkSecret" (dict "root" . "secret" .Values.gateway.keys "value" "gateway.keys") -}}
{{- with .Values.gateway.redis.secret -}}{{- include "clipserve.checkSecret" (dict "root" $ "secret" $.Values.gateway.redis "value" "gateway.redis") -}}{{- end -}}
{{- end -}}

{{/* In a cluster that is reached, a Secret that is missing is told before anything changes. */}}
{{- define "clipserve.checkSecret" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- if lookup "v1" "Namespace" "" $namespace -}}
  {{- $found := lookup "v1" "Secret" $namespace .secret.secret -}}
  {{- if not $found -}}
    {{- fail (printf "%s: there is no Secret %s in namespace %s: kubectl --namespace %s create secret generic %s --from-literal=%s=…" .value .secret.secret $namespace $namespace .secret.secret .secret.key) -}}
  {{- end -}}
  {{- if not (hasKey (default dict $found.data) .secret.key) -}}
    {{- fail (printf "%s: the Secret %s has no key %s" .value .secret.secret .secret.key) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* A GPU is asked for under limits. */}}
{{- define "clipserve.encoderResources" -}}
{{- $resources := deepCopy .resources -}}
{{- if .gpus -}}
{{- $limits := merge (dict "nvidia.com/gpu" (.gpus | toString)) (default dict $resources.limits) -}}
{{- $resources = merge (dict "limits" $limits) $resources -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "clipserve.dns" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end -}}
