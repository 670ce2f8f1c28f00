"""What answers HTTP in front of the application: the worker itself, or DJL Serving."""
