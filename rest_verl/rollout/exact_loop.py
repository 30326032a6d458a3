"""verl's tool agent loop with exact token ids, the same in every version of verl that this package works with.

What is generated stays as it is, and new messages are merged behind it: continuous tokens, as verl calls them. In
verl 0.9.0 they are a switch that is off by default (`data.continuous_token.enable`) and do not know multimodal models;
from 0.9.1 on nothing else is there, and a method has another name.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import verl
from omegaconf import open_dict
from packaging.version import Version
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop

SWITCHED = Version(verl.__version__) < Version("0.9.1")


class ExactToolAgentLoop(ToolAgentLoop):
    """verl's loop whose token ids are never decoded and encoded again."""

    def __init__(self, *args: Any, **kwargs: Any):
        if SWITCHED:
            kwargs["data_config"] = switched_on(kwargs["data_config"], kwargs["processor"])
        super().__init__(*args, **kwargs)

    async def merge_messages(self, *args: Any, **kwargs: Any) -> Any:
        """What verl's `ct_merge_context_msg` takes and returns: messages behind token ids, mask and log-probs."""
        if SWITCHED:
            return await self.ct_merge_non_assistant_msg(*args, **kwargs)  # type: ignore[attr-defined]
        return await self.ct_merge_context_msg(*args, **kwargs)


def switched_on(wrapped: DictConfigWrap, processor: Any) -> DictConfigWrap:
    """A copy of verl 0.9.0's data config with continuous tokens, for a loop that verl made with the original.

    Raises:
        ValueError: the model is multimodal.
    """
    if processor is not None:
        raise ValueError(
            "rest_tool_agent cannot keep the token ids of a multimodal model exact in verl 0.9.0: "
            "pip install 'verl>=0.9.1'"
        )
    data = deepcopy(wrapped.config)
    with open_dict(data):
        data.continuous_token.enable = True
    return DictConfigWrap(data)
