# One image for every process of the service; the command says which (see compose.yaml).
FROM python:3.13-slim AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
ENV UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/crmledger UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock README.md LICENSE ./
# The dependencies first: they change seldom, and so this layer is reused.
RUN uv sync --frozen --no-default-groups --no-install-project --compile-bytecode
COPY domain domain
COPY services services
COPY infra infra
RUN uv sync --frozen --no-default-groups --no-editable --compile-bytecode

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home crmledger
COPY --from=build /opt/crmledger /opt/crmledger
ENV PATH=/opt/crmledger/bin:$PATH PYTHONUNBUFFERED=1 CRMLEDGER_HOST=0.0.0.0
USER crmledger
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/health/ready', timeout=2)"]
ENTRYPOINT ["crmledger"]
CMD ["serve"]
