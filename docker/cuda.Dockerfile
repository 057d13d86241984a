# pushcut on NVIDIA GPUs: torch computes with CUDA, and simulators render by the driver's EGL.
#   docker build -f docker/cuda.Dockerfile -t pushcut:cuda .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD/runs:/work/runs" pushcut:cuda doctor
FROM python:3.12-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# torch's package brings the CUDA libraries that it needs; the image adds what the driver wants.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libgles2 libglvnd0 python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/pushcut/bin:$PATH
ARG EXTRAS=vla,ray,libero
COPY --from=wheel /wheels /wheels
# hadolint ignore=DL3013
RUN python3 -m venv /opt/pushcut \
    && pip install --no-cache-dir "$(echo /wheels/*.whl)[$EXTRAS]"
RUN useradd --create-home --uid 1001 user && mkdir /work && chown 1001 /work
USER 1001
WORKDIR /work
# Without "graphics" the container has no EGL of the driver.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility MUJOCO_GL=egl
ENTRYPOINT ["pushcut"]
CMD ["doctor"]
