{{- /* The template of a pod, for the Deployment and the StatefulSet. */ -}}
{{- define "tokenmint.pod" -}}
metadata:
  labels:
    {{- include "tokenmint.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    # A changed configuration replaces the pods one after the other.
    checksum/config: {{ include "tokenmint.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "tokenmint.serviceAccount" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "tokenmint.grace" . }}
  securityContext: {{- include "tokenmint.podSecurity" . | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range .Values.topologySpreadConstraints }}
    - {{ toYaml . | nindent 6 | trim }}
      labelSelector:
        matchLabels: {{- include "tokenmint.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: tokenmint
      image: {{ include "tokenmint.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/tokenmint/tokenmint.toml{{ if gt (int .Values.workers) 1 }}, --workers, {{ .Values.workers | quote }}{{ end }}]
      {{- with .Values.env }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- range $name, $port := .Values.ports }}
        {{- if $port }}
        - {name: {{ $name }}, containerPort: {{ $port }}, protocol: TCP}
        {{- end }}
        {{- end }}
      # The event loop answers /healthz. /readyz is no liveness probe: it fails while the store is away.
      startupProbe:
        httpGet: {path: /healthz, port: ops}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: ops}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /readyz, port: ops}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      {{- if .Values.shutdown.preStopSeconds }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ .Values.shutdown.preStopSeconds }}}
      {{- end }}
      resources: {{- toYaml .Values.resources | nindent 8 }}
      securityContext: {{- include "tokenmint.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/tokenmint, readOnly: true}
        - {name: data, mountPath: /var/lib/tokenmint}
        - {name: tmp, mountPath: /tmp}
        {{- range $name, $_ := include "tokenmint.secrets" . | fromJson }}
        - {name: {{ $name }}, mountPath: {{ include "tokenmint.secretDirectory" $name }}, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    - name: config
      configMap: {name: {{ include "tokenmint.name" . }}}
    {{- if eq .Values.highWaterMark.volume "emptyDir" }}
    - name: data
      emptyDir: {sizeLimit: {{ .Values.highWaterMark.size }}}
    {{- else if eq .Values.highWaterMark.volume "shared" }}
    - name: data
      persistentVolumeClaim: {claimName: {{ .Values.highWaterMark.existingClaim | default (printf "%s-high-water-mark" (include "tokenmint.name" .)) }}}
    {{- end }}
    - name: tmp
      emptyDir: {medium: Memory, sizeLimit: 64Mi}
    {{- range $name, $of := include "tokenmint.secrets" . | fromJson }}
    - name: {{ $name }}
      secret:
        secretName: {{ $of.secret }}
        defaultMode: 0440
        items:
          {{- range $of.keys }}
          - {key: {{ . }}, path: {{ . }}}
          {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}
