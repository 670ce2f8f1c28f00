# adapters/my_adapter/model.py
from djl_python.input_parser import input_formatter

@input_formatter
def custom_input_formatter(decoded_payload: dict, tokenizer=None, **kwargs) -> dict:
    """
    Adapter-specific input formatter - only applies when this adapter is used.
    Overrides the base model formatter for this adapter.
    
    Args:
        decoded_payload (dict): Decoded request payload
        tokenizer: Tokenizer instance (optional)
        **kwargs: Additional arguments
        
    Returns:
        (dict): Transformed payload in expected format
    """
    # Adapter-specific preprocessing
    if "inputs" in decoded_payload:
        # Add adapter-specific prefix
        decoded_payload["inputs"] = f"[ADAPTER_PREFIX] {decoded_payload['inputs']}"
    
    # Adapter-specific parameter defaults
    if "parameters" not in decoded_payload:
        decoded_payload["parameters"] = {}
    
    decoded_payload["parameters"].setdefault("temperature", 0.7)
    decoded_payload["parameters"].setdefault("max_new_tokens", 512)
    
    return decoded_payload
