"""The request path inside the worker: SageMaker and LMI requests in, vLLM's answers out."""
