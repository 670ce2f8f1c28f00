"""Our Python engine for DJL: what Java starts, connects to and talks to, in place of djl_python's own."""
