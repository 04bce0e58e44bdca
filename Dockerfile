# One image for every role of the reference: the role is the command (api, consumer, bridge, alembic ..., agents).
#
#   docker build -t plumbline .
#   docker run --rm plumbline plumbline-system --help

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 SOURCE_DATE_EPOCH=1767225600
WORKDIR /src
# Dependencies first, by hash: this layer stands until the lock changes.
COPY requirements-image.lock ./
RUN python -m venv --without-pip /opt/plumbline \
 && python -m pip --python /opt/plumbline/bin/python install --require-hashes --only-binary :all: -r requirements-image.lock
# The wheel is built once, and is what runs.
COPY pyproject.toml README.md LICENSE ./
COPY contract contract
COPY system system
COPY harness harness
COPY scenarios scenarios
COPY subjects subjects
COPY migrations migrations
COPY alembic.ini ./
RUN python -m pip wheel --no-deps --wheel-dir /dist . \
 && python -m pip --python /opt/plumbline/bin/python install --no-deps /dist/*.whl \
 && find /opt/plumbline -type d -name tests -prune -exec rm -rf {} + \
 && /opt/plumbline/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/plumbline/lib

FROM python:3.11-slim
LABEL org.opencontainers.image.title="plumbline" \
      org.opencontainers.image.description="Reference of an event-driven workflow executor: REST API, execution consumer, HTTP bridge" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/plumbline /opt/plumbline
WORKDIR /app
COPY alembic.ini ./
COPY migrations migrations
COPY LICENSE ./
ENV PATH=/opt/plumbline/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 API_HOST=0.0.0.0 HEARTBEAT_FILE=/tmp/heartbeat
# A number, so that a platform can see without a look into the image that it is not root's.
USER 10001:10001
EXPOSE 8000
# A role that reads Kafka leaves its heartbeat in a file; the API is asked over HTTP.
HEALTHCHECK --interval=3s --timeout=5s --start-period=60s --retries=3 CMD ["plumbline-system", "healthy"]
CMD ["plumbline-system", "api"]
