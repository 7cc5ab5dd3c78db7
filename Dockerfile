# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM python:3.11-slim-bookworm
# The tree is read-only when it runs: the engines' machine code, made at the first start, lies with the data.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/data/numba \
    DATA_DIR=/data REPORTS_DIR=/data/reports LOG_FORMAT=json \
    MALLOC_ARENA_MAX=2 ARROW_DEFAULT_MEMORY_POOL=system
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin smc \
    && install -d -o smc -g smc -m 0750 /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . /app
USER smc
VOLUME /data
EXPOSE 8000 8001
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:%s/healthz' % os.environ.get('API_PORT', '8000'), headers={'Host': 'localhost'}), timeout=4)"]
CMD ["python", "-m", "smcsite.web"]
