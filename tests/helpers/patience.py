"""Limits of Ray, vLLM and verl on how long a process may take to start or answer, lifted for a busy machine."""

import os

from tiers import HANG_GUARD

UNHURRIED = {
    "RAY_raylet_start_wait_time_s": str(HANG_GUARD),
    "RAY_worker_register_timeout_seconds": str(HANG_GUARD),
    "RAY_agent_register_timeout_ms": str(1000 * HANG_GUARD),
    "RAY_gcs_server_request_timeout_seconds": str(HANG_GUARD),
    "RAY_health_check_timeout_ms": str(1000 * HANG_GUARD),
    "VLLM_ENGINE_READY_TIMEOUT_S": str(HANG_GUARD),
    "VLLM_ENGINE_ITERATION_TIMEOUT_S": str(HANG_GUARD),
}
VERL_UNHURRIED = [f"trainer.ray_wait_register_center_timeout={HANG_GUARD}"]  # overrides of verl's


def take_your_time() -> None:
    """Lift the limits for all processes that this one starts, before it imports Ray."""
    os.environ.update(UNHURRIED)
