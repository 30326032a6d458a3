"""A custom environment: a shop in which a user fills a cart, wish by wish.

This file is all that such an environment needs. `rest.modules` imports it in every process of the run, so it must be
importable there:

    python -m verl.trainer.main_ppo +rest=paper +rest/rollout=multi_turn rest.modules=[custom_environment] \\
        +ray_kwargs.ray_init.runtime_env.env_vars.PYTHONPATH=$PWD/examples data.train_files=shop.parquet ...

A row names the environment and its arguments (see `row`). `bash examples/custom_environment_cpu.sh` does all of this
on a CPU, with a tiny model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rest_verl import register_environment
from rest_verl.rollout.environment import Message, NoEnvironment, Opening, ToolError

ITEMS = ("apple", "pear", "plum", "fig", "lemon", "melon")
SYSTEM = """You fill the user's cart with the tools add_item(item, count) and remove_item(item, count).
Write <think>...</think>, then a <tool_call> block with one JSON call per line, or a <response>."""


@register_environment("shop")
@dataclass
class Shop(NoEnvironment):
    """A cart, and a user who states one wish after the other.

    Attributes:
        wishes: [item, count] each; a negative count removes items again.
    """

    wishes: list[tuple[str, int]]
    cart: Counter[str] = field(default_factory=Counter, init=False)
    stated: int = field(default=1, init=False)  # number of wishes; the row's prompt holds the first
    fulfilled: list[bool] = field(default_factory=list, init=False)  # after each wish, whether the cart was right

    async def reset(self) -> Opening:
        return Opening()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        sign = {"add_item": 1, "remove_item": -1}[name]
        item, count = arguments.get("item"), arguments.get("count")
        if item not in ITEMS or type(count) is not int or count < 1:
            raise ToolError(f"item must be one of {', '.join(ITEMS)} and count a number from 1")
        if self.cart[item] + sign * count < 0:
            raise ToolError(f"there are only {self.cart[item]} {item} in the cart")
        self.cart[item] += sign * count
        return json.dumps(+self.cart)

    async def next_user_turn(self) -> Sequence[Message] | None:
        self.fulfilled.append(+self.cart == +self.wanted())
        if self.stated == len(self.wishes):
            return None
        self.stated += 1
        return [{"role": "user", "content": wish_text(*self.wishes[self.stated - 1])}]

    async def score(self) -> dict[str, float]:
        """The share of items with the number that all wishes add up to; unwanted items in the cart count too."""
        wanted = self.wanted(len(self.wishes))
        items = {item for item in ITEMS if wanted[item] or self.cart[item]}
        right = sum(self.cart[item] == wanted[item] for item in items)
        return {"score": right / len(items) if items else 1.0, "items_in_cart": float(self.cart.total())}

    def turn_scores(self) -> list[float]:
        """For `rest.credit=turn`: an equal part for each wish after which the cart was right."""
        return [one / len(self.wishes) for one in self.fulfilled]

    def wanted(self, wishes: int | None = None) -> Counter[str]:
        """What the first wishes add up to; those that were stated so far if no number is given."""
        wanted: Counter[str] = Counter()
        for item, count in self.wishes[: self.stated if wishes is None else wishes]:
            wanted[item] += count
        return wanted


def wish_text(item: str, count: int) -> str:
    """A wish in the user's words."""
    return f"Add {count} {item}." if count > 0 else f"Take {-count} {item} out."


def row(number: int, wishes: list[tuple[str, int]]) -> dict[str, Any]:
    """A row for verl: the prompt with the first wish, and the environment's name with its arguments."""
    return {
        "data_source": "shop",
        "prompt": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": wish_text(*wishes[0])}],
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": ""},
        "extra_info": {
            "index": number,
            "id": f"shop_{number}",
            "split": "train",
            "environment": "shop",
            "environment_kwargs": json.dumps({"wishes": wishes}),
        },
    }
