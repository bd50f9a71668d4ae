# The runtime and both engines, no torch, for x86-64 and arm64: docs/docker.md.
#
#     docker build -t edgecap .
#     docker run --rm -v "$PWD:/work" edgecap caption photo.jpg --bundle captioner
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY . .
# In a directory of its own, without pip: only that is copied into the image.
RUN python -m pip wheel --quiet --no-deps --wheel-dir /wheels . \
    && python -m pip install --quiet --no-cache-dir --no-compile --target /opt/edgecap \
        "$(ls /wheels/*.whl)[onnx,tflite]" \
    && rm -rf /opt/edgecap/edgecap/reference/data/captioner-*.safetensors \
        /opt/edgecap/edgecap/reference/data/*.zip

FROM python:${PYTHON}-slim
COPY --from=build /opt/edgecap /opt/edgecap
ENV PYTHONPATH=/opt/edgecap PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 ORT_DISABLE_TELEMETRY=1
# Numbers, so that a cluster can check that it is not root.
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["python", "-m", "edgecap"]
CMD ["--help"]
