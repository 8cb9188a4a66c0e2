"""Examples of nmdeploy, run from the root of the repository."""
