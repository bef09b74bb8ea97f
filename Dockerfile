# A bin on x86-64, from the same recipe as Dockerfile.jetson.
#   CPU          docker build -t binsight .
#   NVIDIA GPU   docker build -t binsight:gpu --build-arg EXTRAS=gpu \
#                    --build-arg BASE=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 .
# Run: docker run --rm --device /dev/video0 -v "$PWD/bundle:/bundle:ro" -v state:/var/lib/binsight \
#          binsight /bundle 0 --events events.jsonl       # with a GPU: --gpus all, and binsight:gpu --backend cuda
ARG BASE=ubuntu:24.04

FROM ${BASE} AS system
COPY deploy/install.sh /src/deploy/install.sh
RUN /src/deploy/install.sh system user

# Source, pip's own files and what it builds stay behind: only /opt/binsight goes on.
FROM system AS packages
ARG EXTRAS=cpu
COPY pyproject.toml README.md LICENSE /src/
COPY edge /src/edge
COPY train /src/train
COPY export /src/export
RUN /src/deploy/install.sh packages

FROM system
COPY --from=packages /opt/binsight /opt/binsight
# binsight, in the groups video, render and gpio.
USER 10001
WORKDIR /var/lib/binsight
VOLUME /var/lib/binsight
STOPSIGNAL SIGTERM
# The page is for the container alone; an --web of yours goes before it, and then the health check is yours, too.
ENTRYPOINT ["/opt/binsight/bin/edge-run", "--web", "8080"]
CMD ["--help"]
# A bundle proves itself on the machine before it serves.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["/opt/binsight/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
