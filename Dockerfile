# syntax=docker/dockerfile:1

# The server as an image: one binary, the system's certificates, an example configuration.
#
#   docker build -t artifactapi:latest .
#   docker run --rm -p 8000:8000 -v artifactapi:/data artifactapi:latest
#
# Any other subcommand goes after the image's name, for example `artifactapi:latest health`.

ARG RUST_VERSION=1.95
ARG DEBIAN_VERSION=trixie

FROM rust:${RUST_VERSION}-slim-${DEBIAN_VERSION} AS build
ARG TARGETPLATFORM
WORKDIR /src
# The sources are mounted, not copied, and cargo writes only to the two caches: the registry, and a target folder for
# each platform. A build after a small change therefore compiles only what changed, here as on a laptop.
# Line tables are left out of the image; function names stay, so that a backtrace still says where.
RUN --mount=type=bind,target=/src \
    --mount=type=cache,id=artifactapi-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=artifactapi-target-${TARGETPLATFORM},target=/target,sharing=locked \
    CARGO_TARGET_DIR=/target cargo build --release --locked --package artifactapi --bin artifactapi \
    && install -D -m 0755 /target/release/artifactapi /out/artifactapi \
    && strip --strip-debug /out/artifactapi

FROM debian:${DEBIAN_VERSION}-slim
RUN groupadd --gid 10001 artifactapi \
    && useradd --uid 10001 --gid 10001 --no-log-init --home-dir /data --no-create-home --shell /usr/sbin/nologin artifactapi \
    && install -d -m 0755 /app \
    && install -d -m 0750 -o 10001 -g 10001 /data
# Upstreams are HTTPS servers. To trust another authority as well, mount a bundle and name it in SSL_CERT_FILE.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/artifactapi /usr/local/bin/artifactapi
# An example to start from. Mount your own over it, or a folder anywhere together with ARTIFACTAPI_CONFIG: a folder is
# better, because a single mounted file does not follow edits.
COPY config/remotes.yaml /app/remotes.yaml

ENV ARTIFACTAPI_DATA_DIR=/data
WORKDIR /app
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# No shell, no curl: the binary asks itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["/usr/local/bin/artifactapi", "health"]
# Runs as process 1: it handles SIGTERM and has no children, so no init is needed.
ENTRYPOINT ["/usr/local/bin/artifactapi"]

ARG VERSION=0.0.0-dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="artifactapi" \
      org.opencontainers.image.description="Package-manager-aware repository server: generic files, Alpine apk, RPM" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
