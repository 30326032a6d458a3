"""From a checkpoint of a run to a Hugging Face folder that `vllm serve` takes: `rest-verl export`."""
