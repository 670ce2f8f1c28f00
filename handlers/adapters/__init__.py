"""LoRA adapters: what is known of them, what of them is loaded, and the routes that manage them."""
