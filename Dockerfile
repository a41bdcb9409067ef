# syntax=docker/dockerfile:1
FROM python:3.14-slim AS build
WORKDIR /src
RUN python -m venv /opt/tokenmint
COPY requirements/image.txt requirements/build.txt requirements/
# Pinned by hash, with nothing resolved anew; the build tools stay in this stage. All extras are there: the native
# transport, the signers of AWS KMS and PKCS #11, and spans by OTLP.
RUN /opt/tokenmint/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/image.txt
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY requirements/runtime.in requirements/runtime.in
COPY service service
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/tokenmint/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.14-slim
# A uid of its own, without a home and without a shell.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin tokenmint \
    && install -d -o tokenmint -g tokenmint -m 0700 /var/lib/tokenmint
COPY --from=build /opt/tokenmint /opt/tokenmint
# TOKENMINT_DATA_DIR is a path, whatever its name looks like.
# hadolint ignore=DL3064
ENV PATH=/opt/tokenmint/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TOKENMINT_DATA_DIR=/var/lib/tokenmint
USER 10001
WORKDIR /var/lib/tokenmint
EXPOSE 7443 7444 8080 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/readyz', timeout=2)"]
ENTRYPOINT ["tokenmint"]
CMD ["serve"]
