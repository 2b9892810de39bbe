# The registry as a container: a user without rights, a root file system that may be read-only, all data in one volume.
#   docker build -t embconv . && docker run -v embconv:/data embconv keys create me --role admin
FROM python:3.13-slim AS build
COPY . /src
RUN pip wheel --no-cache-dir --wheel-dir /wheels --constraint /src/constraints.txt /src

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels embconv \
 && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin embconv \
 && install --directory --owner embconv --group embconv --mode 0750 /data
USER 10001
ENV EMBCONV_HOME=/data EMBCONV_HOST=0.0.0.0 EMBCONV_PORT=8765
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD \
    ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"EMBCONV_PORT\"]}/health', timeout=4)"]
ENTRYPOINT ["embconv"]
CMD ["serve"]
