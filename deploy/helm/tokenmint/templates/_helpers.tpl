{{- define "tokenmint.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tokenmint.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tokenmint.labels" -}}
{{ include "tokenmint.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tokenmint.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "tokenmint.name" .) "default") }}
{{- end }}

{{- define "tokenmint.image" -}}
{{- with .Values.image -}}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* The directory of a Secret that is mounted, by the name of its volume. */ -}}
{{- define "tokenmint.secretDirectory" -}}/run/secrets/tokenmint/{{ . }}{{- end }}

{{- /* The Secrets that are mounted, as JSON: by the name of the volume, the Secret and the keys (none: all). */ -}}
{{- define "tokenmint.secrets" -}}
{{- $all := dict "key-encryption" (dict "secret" .Values.keyEncryption.secret.name "keys" (list .Values.keyEncryption.secret.key)) }}
{{- range $index, $other := .Values.keyEncryption.others }}
{{- $_ := set $all (printf "key-encryption-%d" $index) (dict "secret" $other.name "keys" (list $other.key)) }}
{{- end }}
{{- $named := dict "store-password" .Values.store.passwordSecret "sentinel-password" .Values.store.sentinelPasswordSecret
  "store-ca" .Values.store.caSecret "client-ca" .Values.tls.clientCASecret "pkcs11-pin" .Values.pkcs11.pinSecret
  "tracing-headers" .Values.tracing.headersSecret "tracing-ca" .Values.tracing.caSecret }}
{{- range $name, $of := $named }}
{{- if $of.name }}{{ $_ := set $all $name (dict "secret" $of.name "keys" (list $of.key)) }}{{ end }}
{{- end }}
{{- $pairs := dict "store-certificate" .Values.store.clientCertificateSecret "tls-grpc" .Values.tls.grpcSecret
  "tls-http" .Values.tls.httpSecret }}
{{- range $name, $secret := $pairs }}
{{- if $secret }}{{ $_ := set $all $name (dict "secret" $secret "keys" (list "tls.crt" "tls.key")) }}{{ end }}
{{- end }}
{{- toJson $all }}
{{- end }}

{{- /* The configuration file: the values' config, and what belongs to the pod. */ -}}
{{- define "tokenmint.config" -}}
{{- $values := .Values }}
{{- $_ := required "config.issuer: the https URL under which verifiers reach the listener http" $values.config.issuer }}
{{- $_ := required "store.url: the URL of a Redis or Valkey" $values.store.url }}
{{- $_ := required "keyEncryption.secret.name: the Secret with the key-encryption key" $values.keyEncryption.secret.name }}
{{- $listen := dict }}
{{- range $name, $port := $values.ports }}{{ if $port }}{{ $_ := set $listen $name (printf "0.0.0.0:%v" $port) }}{{ end }}{{ end }}
{{- if $values.ports.console }}
{{- $service := printf "%s-console.%s.svc" (include "tokenmint.name" .) .Release.Namespace }}
{{- $_ := set $listen "console_hosts" (append (dig "listen" "console_hosts" list $values.config) $service) }}
{{- end }}
{{- $redis := dict "url" $values.store.url }}
{{- $keys := dict }}
{{- $tracing := dict }}
{{- $secrets := include "tokenmint.secrets" . | fromJson }}
{{- $files := dict "key-encryption" (list $keys "encryption_key_file") "store-password" (list $redis "password_file")
  "sentinel-password" (list $redis "sentinel_password_file") "store-ca" (list $redis "ca_file")
  "client-ca" (list $listen "client_ca_file") "tracing-headers" (list $tracing "headers_file")
  "tracing-ca" (list $tracing "ca_file") }}
{{- range $volume, $place := $files }}
{{- with get $secrets $volume }}
{{- $_ := set (first $place) (last $place) (printf "%s/%s" (include "tokenmint.secretDirectory" $volume) (first .keys)) }}
{{- end }}
{{- end }}
{{- $pairs := dict "store-certificate" (list $redis "") "tls-grpc" (list $listen "") "tls-http" (list $listen "http_") }}
{{- range $volume, $place := $pairs }}
{{- if hasKey $secrets $volume }}
{{- $directory := include "tokenmint.secretDirectory" $volume }}
{{- $_ := set (first $place) (printf "%scert_file" (last $place)) (printf "%s/tls.crt" $directory) }}
{{- $_ := set (first $place) (printf "%skey_file" (last $place)) (printf "%s/tls.key" $directory) }}
{{- end }}
{{- end }}
{{- if and (hasKey $secrets "client-ca") $values.tls.httpSecret }}{{ $_ := set $listen "http_client_ca_file" $listen.client_ca_file }}{{ end }}
{{- if not (and $values.tls.grpcSecret $values.tls.httpSecret) }}{{ $_ := set $listen "plaintext" true }}{{ end }}
{{- $others := list }}
{{- range $index, $other := $values.keyEncryption.others }}
{{- $others = append $others (printf "%s/%s" (include "tokenmint.secretDirectory" (printf "key-encryption-%d" $index)) $other.key) }}
{{- end }}
{{- if $others }}{{ $_ := set $keys "other_encryption_key_files" $others }}{{ end }}
{{- if hasKey $secrets "pkcs11-pin" }}
{{- $pin := get $secrets "pkcs11-pin" }}
{{- $_ := set $keys "pkcs11" (dict "pin_file" (printf "%s/%s" (include "tokenmint.secretDirectory" "pkcs11-pin") (first $pin.keys))) }}
{{- end }}
{{- $own := dict "data_dir" "/var/lib/tokenmint" "listen" $listen "redis" $redis "keys" $keys }}
{{- if $tracing }}{{ $_ := set $own "tracing" $tracing }}{{ end }}
{{- $config := mergeOverwrite (deepCopy $values.config) $own }}
{{- include "tokenmint.wholeNumbers" $config }}
{{- /* Without empty lines, which YAML's indentation would fill with spaces. */ -}}
{{- regexReplaceAll `\n\n+` (toToml $config) "\n" | trim }}
{{- end }}

{{- /* Makes whole numbers of fractions that are whole, in place: Helm reads every number as a fraction. */ -}}
{{- define "tokenmint.wholeNumbers" -}}
{{- $table := . }}
{{- range $key, $value := $table }}
{{- if kindIs "map" $value }}{{ include "tokenmint.wholeNumbers" $value }}
{{- else if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $_ := set $table $key (int64 $value) }}
{{- else if kindIs "slice" $value }}
{{- range $value }}{{ if kindIs "map" . }}{{ include "tokenmint.wholeNumbers" . }}{{ end }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The seconds from the deletion of a pod to its SIGKILL: pause, lame duck, drain, and the end of all processes. */ -}}
{{- define "tokenmint.grace" -}}
{{- add (int .Values.shutdown.preStopSeconds) (int .Values.config.limits.lame_duck) (int .Values.config.limits.drain) 10 }}
{{- end }}

{{- define "tokenmint.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "tokenmint.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}
