# model.py (in base model directory)
from djl_python.output_formatter import output_formatter
import time

@output_formatter
def custom_output_formatter(response_data: dict) -> dict:
    """
    Base model output formatter - applies to all responses by default.

    Args:
        response_data (dict): The final response data containing 'generated_text', 'details', etc.

    Returns:
        (dict): Modified response data with custom fields
    """
    if 'generated_text' in response_data:
        # Add custom processing timestamp
        response_data['custom_formatter_applied'] = True
        response_data['formatter_timestamp'] = int(time.time())
        
        # Example: Transform the generated text
        generated_text = response_data['generated_text']
        response_data['original_length'] = len(generated_text)
        response_data['generated_text'] = f"[BASE] {generated_text}"
    
    return response_data
