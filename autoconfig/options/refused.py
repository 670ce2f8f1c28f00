"""Options that stop the start, because leaving them out in silence would change answers or give up protection."""

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "Not done here"

_TLS = "asks for TLS, which this container leaves to SageMaker or a proxy in front; remove it"

OPTIONS = (
    Option(
        "input_formatter",
        "Custom input formatter.",
        refused="is no setting: a function in model.py that has @input_formatter before it is found by that; remove it",
    ),
    Option(
        "draft_model_id",
        "Draft model, LMI's former name.",
        aliases=("speculative_draft_model",),
        refused="has a new name; use option.speculative_config="
        '{"method":"draft_model","model":"...","num_speculative_tokens":4}',
    ),
    Option(
        "spec_length",
        "Draft tokens, LMI's former name.",
        kind=Kind.INT,
        refused='has a new name; use "num_speculative_tokens" in option.speculative_config',
    ),
    Option(
        "bedrock_compat",
        "Bedrock's request schema.",
        kind=Kind.BOOL,
        default=False,
        refused="is not offered; remove it, or set false",
        refused_when=bool,
    ),
    Option("keystore", "Java key store.", prefixed=False, server_keys=(Spelling("keystore"),), refused=_TLS),
    Option(
        "keystore_pass",
        "Its password.",
        prefixed=False,
        server_keys=(Spelling("keystore_pass"),),
        secret=True,
        refused=_TLS,
    ),
    Option("keystore_type", "Its type.", prefixed=False, server_keys=(Spelling("keystore_type"),), refused=_TLS),
    Option(
        "certificate_file",
        "TLS certificate.",
        prefixed=False,
        server_keys=(Spelling("certificate_file"),),
        refused=_TLS,
    ),
    Option("private_key_file", "TLS key.", prefixed=False, server_keys=(Spelling("private_key_file"),), refused=_TLS),
    Option(
        "multi_model",
        "Multi-model endpoint.",
        kind=Kind.BOOL,
        default=False,
        prefixed=False,
        overrides=(Spelling("SAGEMAKER_MULTI_MODEL"),),
        refused="asks for a multi-model endpoint; this container serves one model, use an inference component for each",
        refused_when=bool,
    ),
    Option(
        "secure_mode",
        "LMI's secure mode.",
        kind=Kind.BOOL,
        default=False,
        prefixed=False,
        overrides=(Spelling("SAGEMAKER_SECURE_MODE"),),
        refused="asks for controls that are not in this version yet; starting without them would be less than asked",
        refused_when=bool,
    ),
    Option(
        "neo",
        "A job of SageMaker's Inference Optimization (Neo).",
        prefixed=False,
        overrides=(Spelling("SM_NEO_EXECUTION_CONTEXT"),),
        refused="asks for a job that rewrites a model; this container serves models only, remove it",
    ),
)
