"""Which model is served, and how its files are read."""

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "Model"

DTYPES = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32"}

# LMI's tasks (djl-serving: vllm_rb_properties.py) and vLLM's older names -> vLLM's runner and convert.
TASKS = {
    "auto": ("auto", "auto"),
    "generate": ("generate", "auto"),
    "text-generation": ("generate", "auto"),
    "embed": ("pooling", "embed"),
    "text-embedding": ("pooling", "embed"),
    "feature-extraction": ("pooling", "embed"),
    "classify": ("pooling", "classify"),
}

OPTIONS = (
    Option(
        "model_id",
        "Hugging Face id, local directory or s3:// prefix of the model. Default: the weights in the model directory, "
        "else HF_MODEL_ID, else the embedded SmolLM2-135M-Instruct.",
        aliases=("model",),
        environment=(Spelling("SM_VLLM_MODEL"),),
        fallback=(Spelling("HF_MODEL_ID"),),
    ),
    Option(
        "revision",
        "Branch, tag or commit of the model on Hugging Face.",
        engine="revision",
        optional=True,
        environment=(Spelling("HF_REVISION"),),
    ),
    Option(
        "task",
        "What the model does; sets vLLM's runner and convert.",
        choices=tuple(TASKS),
        default="auto",
        environment=(Spelling("HF_TASK"),),
    ),
    Option(
        "served_model_name",
        "Names a request may give as `model`; answers carry the first. The model id and `lmi` are accepted as well.",
        kind=Kind.LIST,
        environment=(Spelling("SM_VLLM_SERVED_MODEL_NAME"),),
    ),
    Option(
        "trust_remote_code",
        "Run Python code that comes with the model.",
        kind=Kind.BOOL,
        default=False,
        engine="trust_remote_code",
        environment=(Spelling("HF_MODEL_TRUST_REMOTE_CODE"), Spelling("HF_TRUST_REMOTE_CODE")),
    ),
    Option(
        "hf_token",
        "Hugging Face token for gated or private models; handed on as HF_TOKEN, never on a command line.",
        secret=True,
        environment=tuple(
            map(Spelling, ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_TOKEN", "SM_VLLM_HF_TOKEN")),
        ),
    ),
    Option(
        "dtype",
        "Number format of weights and activations.",
        choices=("auto", "bfloat16", "float16", "float32"),
        spelled=DTYPES,
        default="auto",
        engine="dtype",
    ),
    Option(
        "quantize",
        "Quantization method of the weights, such as fp8, awq, gptq or bitsandbytes.",
        aliases=("quantization",),
        engine="quantization",
        optional=True,
        environment=(Spelling("HF_MODEL_QUANTIZE"),),
    ),
    Option(
        "max_model_len",
        "Longest context in tokens, prompt and answer together. Default: the model's own.",
        kind=Kind.MODEL_LENGTH,
        engine="max_model_len",
        optional=True,
    ),
    Option(
        "download_directory",
        "Where a model from s3:// is kept. Default: below the cache directory.",
        environment=(Spelling("SERVING_DOWNLOAD_DIR"),),
    ),
)
