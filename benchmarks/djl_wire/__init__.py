"""What a token costs on its way from a Python engine to DJL's Java side: DJL's own engine and ours."""
