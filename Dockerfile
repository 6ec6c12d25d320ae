FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MICROGATEWAY_DATA_DIR=/data

# /data exists with its owner before VOLUME names it, so a fresh volume belongs to the gateway's own user.
RUN useradd --system --uid 10001 --no-create-home gateway \
    && install --directory --owner=gateway --mode=0700 /data

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --requirement requirements.txt
COPY app.py .
COPY microgateway microgateway
COPY seed_data seed_data

USER gateway
VOLUME /data
EXPOSE 8017 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8017/readyz', timeout=2)"]
CMD ["python", "-m", "microgateway", "run", "--host", "0.0.0.0"]
