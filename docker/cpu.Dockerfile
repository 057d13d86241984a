# pushcut on CPUs, with software OpenGL.
#   docker build -f docker/cpu.Dockerfile -t pushcut:cpu .
#   docker run --rm -v "$PWD/runs:/work/runs" pushcut:cpu quickstart smoke --out runs/smoke
FROM python:3.12-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim-bookworm
# Mesa's EGL draws without a display and without a GPU. Its version is the distribution's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri libgles2 \
    && rm -rf /var/lib/apt/lists/*
ARG EXTRAS=vla
# torch first, from the index whose builds leave CUDA out; pyproject.toml has the bounds.
COPY --from=wheel /wheels /wheels
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch>=2.7,<2.14" \
    && pip install --no-cache-dir "$(echo /wheels/*.whl)[$EXTRAS]"
RUN useradd --create-home --uid 1001 user && mkdir /work && chown 1001 /work
USER 1001
WORKDIR /work
ENV MUJOCO_GL=egl
ENTRYPOINT ["pushcut"]
CMD ["doctor"]
