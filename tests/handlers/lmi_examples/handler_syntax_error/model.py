from djl_python import Input, Output
from djl_python.encode_decode import decode
from vllm import LLM, SamplingParams

# Syntax error - missing colon
async def handle(inputs: Input)
    """Custom handler with syntax error"""
    return None
