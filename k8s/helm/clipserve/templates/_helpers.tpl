{{- define "clipserve.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | regexFind "^.*[^-]" -}}
{{- end -}}

{{- define "clipserve.fullname" -}}
{{- $name := include "clipserve.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | trunc 40 | regexFind "^.*[^-]" -}}
{{- end -}}

{{/* Labels that never change: (dict "root" $ "part" "gateway") */}}
{{- define "clipserve.selector" -}}
app.kubernetes.io/name: {{ include "clipserve.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .part }}
{{- with .model }}
clipserve/model: {{ . | quote }}
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
priorityClassName: {{ . | quote }}
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
    topologyKey: {{ .root.Values.topologySpread.key | quote }}
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

{{/* A number without an exponent: YAML's are floats here. */}}
{{- define "clipserve.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ printf "%.0f" . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/*
The environment of a container, each name once, as helm applies it: (dict "root" $ "own" "what the chart sets, as YAML" "env" MAP
"value" "gateway.env").
*/}}
{{- define "clipserve.env" -}}
{{- $own := concat (fromYamlArray .own) (include "clipserve.tracing" .root | fromYamlArray) -}}
{{- $old := dict "CLIPSERVE_SCALER_MIN_REPLICAS" "LEAST" "CLIPSERVE_SCALER_MAX_REPLICAS" "MOST" "CLIPSERVE_SCALER_ITEMS_PER_REPLICA" "PER_WORKER" "CLIPSERVE_SCALER_ACTUATOR" "OUTLET" -}}{{/* in 0.1 */}}
{{- range $own -}}
  {{- $before := printf "CLIPSERVE_SCALER_%s" (get $old .name) -}}
  {{- if and (hasKey $old .name) (hasKey $.env $before) -}}{{- fail (printf "%s.%s is set by the chart itself: take it out" $.value $before) -}}{{- end -}}
  {{- if hasKey $.env .name -}}{{- fail (printf "%s.%s is set by the chart itself: take it out" $.value .name) -}}{{- end -}}
{{- end -}}
{{- range $name, $value := .env -}}
  {{- $own = append $own (dict "name" $name "value" (include "clipserve.text" $value)) -}}
{{- end -}}
{{- toYaml $own -}}
{{- end -}}

{{/* Where traces go, and which pod they are from; empty without an endpoint. */}}
{{- define "clipserve.tracing" -}}
{{- $tracing := .Values.tracing -}}
{{- if $tracing.endpoint -}}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ $tracing.endpoint | quote }}}
{{- with $tracing.headers.secret }}
- {name: OTEL_EXPORTER_OTLP_HEADERS, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: {{ $tracing.headers.key | quote }}}}}
{{- end }}
{{- if not (hasKey $tracing.env "OTEL_RESOURCE_ATTRIBUTES") }}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: "k8s.namespace.name={{ .Release.Namespace }},k8s.pod.name=$(POD_NAME)"}
{{- end }}
{{- range $name, $value := $tracing.env }}
- {name: {{ $name | quote }}, value: {{ include "clipserve.text" $value | quote }}}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Traces leave to the collector's port, wherever it is. */}}
{{- define "clipserve.tracingEgress" -}}
{{- with .Values.tracing.endpoint -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- include "clipserve.egressPort" (dict "port" $port "value" "tracing.endpoint") -}}
{{- end -}}
{{- end -}}

{{/* A way out to a port, wherever that is. */}}
{{- define "clipserve.egressPort" -}}
{{- $port := atoi .port -}}
{{- if or (lt $port 1) (gt $port 65535) -}}{{- fail (printf "%s: there is no port %s" .value .port) -}}{{- end -}}
- ports: [{port: {{ $port }}, protocol: TCP}]
{{- end -}}

{{- define "clipserve.encoder" -}}
{{- printf "%s-encoder-%s" (include "clipserve.fullname" .root) (.model | lower | replace "." "-" | replace "_" "-" | trunc 14 | regexFind "^.*[^-]") -}}
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
{{- if not (regexMatch "^[a-z]" (include "clipserve.fullname" .)) -}}
  {{- fail (printf "the release's name %q begins with a digit, and a Service's name must not: choose another" .Release.Name) -}}
{{- end -}}
{{- if contains "." (include "clipserve.fullname" .) -}}
  {{- fail (printf "the release's name %q has a dot, and a Service's name must not: choose another" .Release.Name) -}}
{{- end -}}
{{- $names := list -}}
{{- $encoders := list -}}
{{- $defaults := list -}}
{{- $prefixes := list -}}
{{- range include "clipserve.models" . | fromJsonArray -}}{{- $prefixes = append $prefixes .prefix -}}{{- end -}}
{{- range $model := include "clipserve.models" . | fromJsonArray -}}
  {{- if has .name $names -}}{{- fail (printf "models: two models are named %q: each needs a name of its own" .name) -}}{{- end -}}
  {{- $encoder := include "clipserve.encoder" (dict "root" $ "model" .name) -}}
  {{- if has $encoder $encoders -}}{{- fail (printf "models: %q has the same first 14 letters as another model (small and large ones, and . _ - count as one), so both encoders would be named %s" .name $encoder) -}}{{- end -}}
  {{- $names = append $names .name -}}
  {{- $encoders = append $encoders $encoder -}}
  {{- if .default -}}{{- $defaults = append $defaults .name -}}{{- end -}}
  {{- if gt .autoscaling.minReplicas .autoscaling.maxReplicas -}}{{- fail (printf "models: autoscaling.minReplicas of %q is above its maxReplicas" .name) -}}{{- end -}}
  {{- if and (ne .autoscaling.kind "none") (gt (sub (len $prefixes) (len (without $prefixes .prefix))) 1) -}}
    {{- fail (printf "models: %q scales by what is asked of %s_text and so on, and another model's endpoints have these names, too: give each a prefix of its own" .name .prefix) -}}
  {{- end -}}
  {{- if and (eq .autoscaling.kind "hpa") (not (regexMatch "^[A-Za-z0-9][A-Za-z0-9_.-]{0,51}$" .prefix)) -}}
    {{- fail (printf "models: the prefix of %q is no label in a HorizontalPodAutoscaler: begin with a letter or digit, and use 52 at most" .name) -}}
  {{- end -}}
  {{- range $port := list "CLIPSERVE_ENCODER_HOST" "CLIPSERVE_INFERENCE_PORT" "CLIPSERVE_MANAGEMENT_PORT" "CLIPSERVE_METRICS_PORT" "CLIPSERVE_MODEL_STORE" -}}
    {{- if hasKey $model.env $port -}}{{- fail (printf "models: env of %q.%s: the chart's probes, Services and mounts need it as it is" $model.name $port) -}}{{- end -}}
  {{- end -}}
  {{- $scaler := include "clipserve.scaler" (dict "root" $ "model" .name) -}}
  {{- if and (eq .autoscaling.kind "scaler") (gt (len $scaler) 52) -}}
    {{- fail (printf "models: the scaler of %q would be named %s, which is longer than the 52 letters that a StatefulSet may have: choose a shorter release name" .name $scaler) -}}
  {{- end -}}
  {{- if and (eq (dig "image" "mode" "copy" .source) "volume") (semverCompare "<1.33.0-0" $.Capabilities.KubeVersion.Version) -}}
    {{- fail (printf "models: %q mounts an image (mode: volume), which Kubernetes 1.35 can, or 1.33 with its feature gate ImageVolume, and this is %s: say mode: copy" .name $.Capabilities.KubeVersion.Version) -}}
  {{- end -}}
  {{- with .source.copy -}}{{- with .secret -}}{{- include "clipserve.checkSecret" (dict "root" $ "secret" (dict "secret" .) "value" "models: source.copy") -}}{{- end -}}{{- end -}}
  {{- if and (eq .autoscaling.kind "keda") (not .autoscaling.prometheus) -}}{{- fail (printf "models: %q scales by KEDA: set autoscaling.prometheus to the address of a Prometheus" .name) -}}{{- end -}}
{{- end -}}
{{- if include "clipserve.modelsScaledBy" (dict "root" $ "kind" "scaler") | fromJsonArray -}}
  {{- include "clipserve.checkSecret" (dict "root" . "secret" .Values.scaler.key "value" "scaler.key") -}}
{{- end -}}
{{- if gt (len $defaults) 1 -}}{{- fail (printf "models: %s all say default: true; one may" (join ", " $defaults)) -}}{{- end -}}
{{- $pictures := .Values.gateway.pictures -}}
{{- if and $pictures.claim $pictures.url -}}{{- fail "gateway.pictures: claim and url exclude each other" -}}{{- end -}}
{{- if and $pictures.url (eq (toString (index .Values.gateway.env "CLIPSERVE_GATEWAY_PICTURES")) "copy") -}}
  {{- fail "gateway.env.CLIPSERVE_GATEWAY_PICTURES: object storage keeps thumbnails: leave out copy, or set gateway.pictures.claim" -}}
{{- end -}}
{{- range tuple (list "CLIPSERVE_GATEWAY_KEYS_FILE" .Values.gateway.database.secret "gateway.database") (list "CLIPSERVE_GATEWAY_PICTURES" (or $pictures.claim $pictures.url) "gateway.pictures.claim") -}}
  {{- if and (hasKey $.Values.gateway.env (index . 0)) (not (index . 1)) (not $.Values.gateway.persistence.enabled) -}}
    {{- fail (printf "gateway.env.%s is about files on one gateway's disk: set %s, which gateways share, or gateway.persistence.enabled with gateway.replicas 1" (index . 0) (index . 2)) -}}
  {{- end -}}
{{- end -}}
{{- if and (hasKey .Values.gateway.env "CLIPSERVE_GATEWAY_KEYS_FILE") .Values.gateway.database.secret -}}
  {{- fail "gateway.env.CLIPSERVE_GATEWAY_KEYS_FILE and gateway.database exclude each other: with a database, keys are in it" -}}
{{- end -}}
{{- range $name := list "HOST" "PORT" "TLS_CERTIFICATE" "TLS_KEY" -}}
  {{- if hasKey $.Values.gateway.env (printf "CLIPSERVE_GATEWAY_%s" $name) -}}{{- fail (printf "gateway.env.CLIPSERVE_GATEWAY_%s: probes and Services ask every address, port 8000, without TLS" $name) -}}{{- end -}}
{{- end -}}
{{- range tuple (list "CLIPSERVE_GATEWAY_API_KEYS" "name a Secret in gateway.keys") (list "CLIPSERVE_GATEWAY_REDIS_URL" "name a Secret in gateway.redis") (list "CLIPSERVE_GATEWAY_DATABASE_URL" "name a Secret in gateway.database") (list "CLIPSERVE_GATEWAY_PICTURES_DIR" "name a claim in gateway.pictures.claim") (list "CLIPSERVE_GATEWAY_PICTURES_URL" "say it in gateway.pictures.url") (list "CLIPSERVE_GATEWAY_DATA_DIR" "gateway.persistence gives it a disk, and all else is read-only") (list "CLIPSERVE_GATEWAY_LLM_API_KEY" "name a Secret in gateway.secrets") (list "CLIPSERVE_GATEWAY_ASSISTANT_API_KEY" "name a Secret in gateway.secrets") -}}
  {{- if hasKey $.Values.gateway.env (index . 0) -}}{{- fail (printf "gateway.env.%s: %s" (index . 0) (index . 1)) -}}{{- end -}}
{{- end -}}
{{- if and (include "clipserve.several" .) (not .Values.gateway.database.secret) (eq (toString (index .Values.gateway.env "CLIPSERVE_GATEWAY_JOBS") | lower) "true") -}}
  {{- fail "gateway.env.CLIPSERVE_GATEWAY_JOBS: jobs are on one gateway's disk, and several gateways don't share it: set gateway.database, or gateway.replicas to 1 and autoscaling off" -}}
{{- end -}}
{{- if and .Values.gateway.persistence.enabled (include "clipserve.several" .) -}}
  {{- fail "gateway.persistence keeps jobs and pictures on one gateway's disk: set gateway.replicas to 1 and autoscaling off, or turn persistence off (gateway.database and gateway.pictures are shared)" -}}
{{- end -}}
{{- with .Values.gateway.autoscaling -}}
  {{- if gt .minReplicas .maxReplicas -}}{{- fail "gateway.autoscaling.minReplicas is above its maxReplicas" -}}{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}{{- fail "ingress.hosts is empty: name a host" -}}{{- end -}}
{{- if and .Values.snapshots.enabled (not (and .Values.snapshots.upload.image .Values.snapshots.upload.command)) -}}{{- fail "snapshots.upload needs an image and a command that uploads /snapshots" -}}{{- end -}}
{{- if ne (empty .Values.snapshots.restore.image) (empty .Values.snapshots.restore.command) -}}{{- fail "snapshots.restore needs an image and a command that downloads to /data/restore" -}}{{- end -}}
{{- if and .Values.route.enabled (not .Values.route.parents) -}}{{- fail "route.parents is empty: name the Gateway that the route belongs to" -}}{{- end -}}
{{- include "clipserve.checkSecret" (dict "root" . "secret" .Values.gateway.keys "value" "gateway.keys") -}}
{{- range .Values.gateway.secrets -}}{{- include "clipserve.checkSecret" (dict "root" $ "secret" (dict "secret" .) "value" "gateway.secrets") -}}{{- end -}}
{{- if .Values.metrics.serviceMonitor.enabled -}}{{- include "clipserve.checkSecret" (dict "root" . "secret" .Values.metrics.serviceMonitor.key "value" "metrics.serviceMonitor.key") -}}{{- end -}}
{{- with .Values.snapshots -}}
  {{- if and .enabled .upload.secret -}}{{- include "clipserve.checkSecret" (dict "root" $ "secret" (dict "secret" .upload.secret) "value" "snapshots.upload") -}}{{- end -}}
  {{- if and .restore.image .restore.secret -}}{{- include "clipserve.checkSecret" (dict "root" $ "secret" (dict "secret" .restore.secret) "value" "snapshots.restore") -}}{{- end -}}
{{- end -}}
{{- if and .Values.tracing.headers.secret .Values.tracing.endpoint -}}{{- include "clipserve.checkSecret" (dict "root" . "secret" .Values.tracing.headers "value" "tracing.headers") -}}{{- end -}}
{{- if hasKey .Values.tracing.env "OTEL_EXPORTER_OTLP_ENDPOINT" -}}{{- fail "tracing.env.OTEL_EXPORTER_OTLP_ENDPOINT: say it in tracing.endpoint" -}}{{- end -}}
{{- if hasKey .Values.tracing.env "OTEL_EXPORTER_OTLP_HEADERS" -}}{{- fail "tracing.env.OTEL_EXPORTER_OTLP_HEADERS: name a Secret in tracing.headers" -}}{{- end -}}
{{- include "clipserve.checkIndex" . -}}
{{- with .Values.gateway.redis.secret -}}{{- include "clipserve.checkSecret" (dict "root" $ "secret" $.Values.gateway.redis "value" "gateway.redis") -}}{{- end -}}
{{- with .Values.gateway.database.secret -}}{{- include "clipserve.checkSecret" (dict "root" $ "secret" $.Values.gateway.database "value" "gateway.database") -}}{{- end -}}
{{- end -}}

{{/* In a cluster that is reached, a Secret that is missing is told before anything changes; without `key` any will do. */}}
{{- define "clipserve.checkSecret" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- if lookup "v1" "Namespace" "" $namespace -}}
  {{- $found := lookup "v1" "Secret" $namespace .secret.secret -}}
  {{- if not $found -}}
    {{- fail (printf "%s: there is no Secret %s in namespace %s: kubectl --namespace %s create secret generic %s --from-literal=%s=…" .value .secret.secret $namespace $namespace .secret.secret (default "NAME" .secret.key)) -}}
  {{- end -}}
  {{- if and .secret.key (not (hasKey (default dict $found.data) .secret.key)) -}}
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

{{/* Of a host of the Ingress: one of `tls` names it, or its wildcard, or no host at all: (dict "host" H "tls" TLS) */}}
{{- define "clipserve.scheme" -}}
{{- $scheme := "http" -}}
{{- range .tls -}}
  {{- if or (not .hosts) (has $.host .hosts) (has (regexReplaceAll "^[^.]+" $.host "*") .hosts) -}}{{- $scheme = "https" -}}{{- end -}}
{{- end -}}
{{- $scheme -}}
{{- end -}}

{{/* What the route belongs to: "Gateway NAMESPACE/NAME" */}}
{{- define "clipserve.parents" -}}
{{- $parents := list -}}
{{- range .Values.route.parents -}}
  {{- $parents = append $parents (printf "%s %s/%s" (default "Gateway" .kind) (default $.Release.Namespace .namespace) .name) -}}
{{- end -}}
{{- join ", " $parents -}}
{{- end -}}

{{- define "clipserve.dns" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end -}}
