"""`rest-verl export`: turn a run's checkpoint into a Hugging Face folder for `vllm serve`."""
