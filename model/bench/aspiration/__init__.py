"""The benchmark of aspiration: simulated sperm are drawn into a micropipette, as in Table III."""
