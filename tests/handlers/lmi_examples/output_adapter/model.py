# adapters/my_adapter/model.py
from djl_python.output_formatter import output_formatter
import json

@output_formatter
def custom_output_formatter(response_data: dict) -> dict:
    """
    Adapter-specific output formatter - only applies when this adapter is used.
    Overrides the base model formatter for this adapter.

    Args:
        response_data (dict): The final response data containing 'generated_text', 'details', etc.

    Returns:
        (dict): Modified response data with custom fields
    """
    if 'generated_text' in response_data:
        # Add adapter-specific metadata
        response_data['adapter_name'] = 'my_adapter'
        response_data['adapter_version'] = '1.0'
        
        # Adapter-specific text transformation
        generated_text = response_data['generated_text']
        response_data['generated_text'] = f"[ADAPTER] {generated_text}"
        
        # Add custom metrics
        response_data['custom_metrics'] = {
            'text_length': len(generated_text),
            'word_count': len(generated_text.split())
        }
    
    return response_data
