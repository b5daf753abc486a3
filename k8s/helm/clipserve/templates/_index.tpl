{{/* What both forms of the index service share: with a disk of its own, and without one over a Milvus. */}}
{{- define "clipserve.indexEnv" -}}
{{- $full := include "clipserve.fullname" . -}}
{{- $milvus := .Values.index.milvus -}}
{{- $shared := eq .Values.index.store "milvus" -}}
- {name: CLIPSERVE_INDEX_ALLOWED_HOSTS, value: {{ ternary (printf "%s-index,%s-index-snapshots" $full $full | quote) (printf "%s-index" $full) (and $shared .Values.snapshots.enabled) }}}
- {name: CLIPSERVE_INDEX_STOP_TIMEOUT_S, value: {{ .Values.index.drain.stopSeconds | quote }}}
{{- with $milvus.uri }}
- {name: CLIPSERVE_INDEX_MILVUS_URI, value: {{ . | quote }}}
{{- end }}
{{- if $shared }}
- {name: CLIPSERVE_INDEX_STORE, value: milvus}
- {name: CLIPSERVE_INDEX_MILVUS_CONSISTENCY, value: {{ $milvus.consistency }}}
{{- end }}
{{- end -}}

{{- define "clipserve.indexContainer" -}}
{{- $index := .Values.index -}}
- name: index
  image: {{ include "clipserve.image" (dict "root" . "part" "index") | quote }}
  imagePullPolicy: {{ .Values.images.pullPolicy }}
  securityContext: {{- include "clipserve.locked" . | nindent 4 }}
  env: {{- include "clipserve.env" (dict "root" . "own" (include "clipserve.indexEnv" .) "env" $index.env "value" "index.env") | nindent 4 }}
  ports:
    - {name: http, containerPort: 8090}
  startupProbe:
    httpGet: {path: /readyz, port: http}
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: {{ div (add $index.startSeconds 1) 2 }}
  readinessProbe:
    httpGet: {path: /readyz, port: http}
    periodSeconds: 5
    timeoutSeconds: 5
  livenessProbe:
    httpGet: {path: /healthz, port: http}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  lifecycle: {{- include "clipserve.preStop" (dict "root" . "seconds" $index.drain.preStopSeconds) | nindent 4 }}
  resources: {{- toYaml $index.resources | nindent 4 }}
  volumeMounts:
    - {name: data, mountPath: /data}
    - {name: tmp, mountPath: /tmp}
    {{- if and $index.milvus.uri $index.milvus.token.secret }}
    - {name: secrets, mountPath: /run/secrets, readOnly: true}
    {{- end }}
{{- end -}}

{{/* Its volumes but for /data. */}}
{{- define "clipserve.indexVolumes" -}}
- name: tmp
  emptyDir: {}
{{- with .Values.index.milvus }}
{{- if and .uri .token.secret }}
- name: secrets
  secret:
    secretName: {{ .token.secret | quote }}
    defaultMode: 0440
    items: [{key: {{ .token.key | quote }}, path: clipserve_index_milvus_token}]
{{- end }}
{{- end }}
{{- end -}}

{{/* The index service leaves to Milvus' port, wherever that is. */}}
{{- define "clipserve.milvusEgress" -}}
{{- with .Values.index.milvus.uri -}}
{{- $port := regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default "19530" -}}
{{- include "clipserve.egressPort" (dict "port" $port "value" "index.milvus.uri") -}}
{{- end -}}
{{- end -}}

{{/* Faults of the values of the index service that a schema can't say. */}}
{{- define "clipserve.checkIndex" -}}
{{- $index := .Values.index -}}
{{- range $name := list "STORE" "MILVUS_URI" "MILVUS_TOKEN" "MILVUS_CONSISTENCY" -}}
  {{- if hasKey $index.env (printf "CLIPSERVE_INDEX_%s" $name) -}}{{- fail (printf "index.env.CLIPSERVE_INDEX_%s: say it in index.store and index.milvus" $name) -}}{{- end -}}
{{- end -}}
{{- range $name := list "HOST" "PORT" "DATA_DIR" -}}
  {{- if hasKey $index.env (printf "CLIPSERVE_INDEX_%s" $name) -}}{{- fail (printf "index.env.CLIPSERVE_INDEX_%s: the chart's probes, Services and mounts need it as it is" $name) -}}{{- end -}}
{{- end -}}
{{- if eq $index.store "milvus" -}}
  {{- if not $index.milvus.uri -}}{{- fail "index.store milvus needs a server: set index.milvus.uri, such as http://milvus.milvus:19530" -}}{{- end -}}
  {{- if and (gt (int $index.replicas) 1) (ne $index.milvus.consistency "strong") -}}
    {{- fail (printf "index.milvus.consistency %s with index.replicas %d: what one replica wrote, another would not see; set strong" $index.milvus.consistency (int $index.replicas)) -}}
  {{- end -}}
  {{- range $delay := list "CLIPSERVE_INDEX_MILVUS_WATERMARK_DELAY_S" "CLIPSERVE_INDEX_MILVUS_SETTLE_S" -}}{{- /* the second is its name in 0.1 */ -}}
    {{- if and (gt (int $index.replicas) 1) (hasKey $index.env $delay) (eq (index $index.env $delay | toString | float64) 0.0) -}}
      {{- fail (printf "index.env.%s 0 is for one replica: with index.replicas %d a move would miss items that others write" $delay (int $index.replicas)) -}}
    {{- end -}}
  {{- end -}}
  {{- if .Values.snapshots.restore.image -}}{{- fail "snapshots.restore is for the disk of index.store embedded: restore into Milvus by POST /collections/NAME/restore" -}}{{- end -}}
{{- else if gt (int $index.replicas) 1 -}}
  {{- fail "index.replicas: with index.store embedded one process holds the disk; set index.store to milvus for several" -}}
{{- end -}}
{{- if and $index.milvus.uri $index.milvus.token.secret -}}{{- include "clipserve.checkSecret" (dict "root" . "secret" $index.milvus.token "value" "index.milvus.token") -}}{{- end -}}
{{- end -}}
