# One image for every process of the service; the command says which (see compose.yaml).
# The base is pinned by digest: a tag can be moved, a digest cannot. To renew it, take tag and digest together, as
# `docker buildx imagetools inspect python:3.13-slim` prints them; both stages have the same.
FROM python:3.13.15-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
COPY .ci/uv.txt /tmp/uv.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/uv.txt
WORKDIR /src
ENV UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/crmledger UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock README.md LICENSE ./
# The dependencies first: they change seldom, and so this layer is reused.
RUN uv sync --frozen --no-default-groups --no-install-project --compile-bytecode
COPY domain domain
COPY services services
COPY infra infra
RUN uv sync --frozen --no-default-groups --no-editable --compile-bytecode

FROM python:3.13.15-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN useradd --system --uid 10001 --create-home crmledger
COPY --from=build /opt/crmledger /opt/crmledger
ENV PATH=/opt/crmledger/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CRMLEDGER_HOST=0.0.0.0
USER 10001
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/health/ready', timeout=2)"]
ENTRYPOINT ["crmledger"]
CMD ["serve"]
