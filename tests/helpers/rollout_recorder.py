"""For `rest.modules` of a run: writes down what the engine read and wrote, and what the agent loop made of it.

Imported in verl's workers. The folder is ROLLOUT_RECORD; every process writes a file of its own.
"""

import json
import os
from pathlib import Path

from verl.workers.rollout.llm_server import LLMServerClient

from rest_verl.rollout.agent_loop import RestToolAgentLoop


def _write(**record):
    path = Path(os.environ["ROLLOUT_RECORD"]) / f"{os.getpid()}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def _recorded(generate):
    async def recorded(self, request_id, *, prompt_ids, **kwargs):
        output = await generate(self, request_id, prompt_ids=prompt_ids, **kwargs)
        _write(request=str(request_id), read=list(prompt_ids), wrote=list(output.token_ids))
        return output

    return recorded


def _watched(run):
    async def watched(self, sampling_params, **kwargs):
        output = await run(self, sampling_params, **kwargs)
        outputs = output if isinstance(output, list) else [output]
        _write(outputs=[[list(one.prompt_ids), list(one.response_ids), list(one.response_mask)] for one in outputs])
        return output

    return watched


if "ROLLOUT_RECORD" in os.environ:  # else only `read_record` is wanted
    LLMServerClient.generate = _recorded(LLMServerClient.generate)
    RestToolAgentLoop.run = _watched(RestToolAgentLoop.run)


def read_record(folder):
    """The requests of each trajectory as [(read, wrote), ...] in their order, and the outputs of each trajectory."""
    requests, outputs = {}, []
    for path in Path(folder).glob("*.jsonl"):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if "outputs" in record:
                outputs.append(record["outputs"])
            else:
                requests.setdefault(record["request"], []).append((record["read"], record["wrote"]))
    return [sorted(turns, key=lambda turn: len(turn[0])) for turns in requests.values()], outputs


def expected_outputs(requests, room, per_turn=False):
    """What the agent loop should hand on: [[prompt ids, response ids, mask], ...] of each trajectory.

    Args:
        requests: as `read_record` gives them.
        room: longest response in tokens; verl cuts what the engine writes beyond it.
        per_turn: whether each turn is an output of its own.
    """
    expected = []
    for turns in requests:
        prompt, whole = turns[0][0], turns[-1][0] + turns[-1][1]
        starts = [len(read) - len(prompt) for read, _ in turns]
        if per_turn:
            cut = [(read, wrote[: room - start]) for start, (read, wrote) in zip(starts, turns, strict=True)]
            expected.append([[read, wrote, [1] * len(wrote)] for read, wrote in cut])
            continue
        mask = [0] * (len(whole) - len(prompt))
        for start, (read, wrote) in zip(starts, turns, strict=True):
            assert whole[: len(read)] == read
            mask[start : start + len(wrote)] = [1] * len(wrote)
        expected.append([[prompt, whole[len(prompt) :][:room], mask[:room]]])
    return expected


def recording(folder, *modules_at, path=""):
    """Overrides and environment of a run that records its rollouts.

    Args:
        folder: where to; made if it is not there.
        modules_at: folders of further modules that the run imports.
        path: PYTHONPATH of this process, which the workers keep.

    Returns:
        overrides; PYTHONPATH for the process that starts the run, which checks `rest.modules` itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [*map(str, modules_at), str(Path(__file__).parent), path]))
    env_vars = "+ray_kwargs.ray_init.runtime_env.env_vars"
    return [f"{env_vars}.PYTHONPATH={path}", f"{env_vars}.ROLLOUT_RECORD={folder}"], path
