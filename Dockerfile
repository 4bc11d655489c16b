# The page on a processor, for Linux on x86-64 and ARM:
#   docker build -t serdemo . && docker run -p 7860:7860 -v serdemo-runs:/runs serdemo
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 serdemo \
    && install -d -o serdemo -g serdemo /runs

# The locked versions, and PyTorch without CUDA.
WORKDIR /app
COPY pyproject.toml uv.lock ./
RUN python -m venv /uv && /uv/bin/pip install --no-cache-dir "uv>=0.13" \
    && /uv/bin/uv sync --frozen --extra cpu --no-default-groups --no-install-project --no-cache --compile-bytecode \
    && rm -rf /uv

COPY app.py LICENSE ./
COPY checkpoints checkpoints
COPY serdemo serdemo

USER serdemo
VOLUME /runs
EXPOSE 7860
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 SERDEMO_RUNS=/runs
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"GRADIO_SERVER_PORT\"]}/healthz', timeout=9)"]
CMD ["python", "app.py"]
