"""Faults in what acts on calls: the agent loop, environments, BFCL."""

from planting import Planted

FAULTS_OF_REWARDS = "tests/faults/test_rewards.py::"

FAULTS = (
    Planted(
        "surplus calls of a dialogue are free",
        "bfcl/multi_turn/checker.py",
        "self._surplus += max(self._called - len(due), 0)",
        "self._surplus += 0",
        FAULTS_OF_REWARDS + "test_surplus_calls_of_bfcls_dialogues_cost_and_acc_is_bfcls",
    ),
    Planted(
        "max_calls is ignored",
        "rollout/agent_loop.py",
        "in_all = self._limits.rollout.max_calls - len(self._record.calls) + len(calls)",
        "in_all = len(calls)",
        "tests/rollout/test_agent_loop.py::test_each_limit_ends_the_trajectory_and_says_so",
    ),
    Planted(
        "SystemExit of a tool or an environment leaves its task",
        "rollout/waiting.py",
        "asyncio.ensure_future(contained(work))",
        "asyncio.ensure_future(work)",
        "tests/faults/test_user_code.py::test_a_wait_contains_what_would_end_the_event_loop",
    ),
    Planted(
        "calls of a turn outlive the failure of one of them",
        "rollout/agent_loop.py",
        "calls[:allowed]), return_exceptions=True",
        "calls[:allowed])",
        "tests/faults/test_user_code.py::test_no_call_of_a_turn_outlives_a_failure_of_its_sibling",
    ),
    Planted(
        "max_steps_per_turn is ignored",
        "rollout/record.py",
        '"steps": steps >= rollout.max_steps_per_turn',
        '"steps": False',
        "tests/rollout/test_agent_loop.py::test_each_limit_ends_the_trajectory_and_says_so",
    ),
    Planted(
        "max_result_length is ignored",
        "rollout/agent_loop.py",
        "text, call.truncated = cut(result, self._limits.rollout.max_result_length)",
        "text, call.truncated = result, False",
        "tests/rollout/test_agent_loop.py::test_a_long_result_is_cut_with_a_remark",
    ),
    Planted(
        "call_seconds is ignored",
        "rollout/agent_loop.py",
        "limit = min(self._limits.rollout.call_seconds, self._seconds_left())",
        "limit = self._seconds_left()",
        "tests/rollout/test_agent_loop.py::test_a_call_that_fails_becomes_a_message_that_the_model_can_read",
    ),
    Planted(
        "an exception of a tool becomes an empty result",
        "rollout/calls.py",
        '        raise Failure("exception", f"{type(error).__name__}: {text_of_error(error)}") from error\n',
        '        return ""  # type: ignore[return-value]\n',
        "tests/rollout/test_agent_loop.py::test_a_call_that_fails_becomes_a_message_that_the_model_can_read",
    ),
    Planted(
        "a special token in a tool's result reaches the prompt",
        "rollout/agent_loop.py",
        "call.result = self._settings.make_safe(text)",
        "call.result = text",
        "tests/rollout/test_exactness.py::test_special_tokens_in_the_text_of_a_tool_or_a_user_stay_text",
    ),
    Planted(
        "a turn ends one token early",
        "rollout/record.py",
        "closed.index(0, turn.start)]",
        "closed.index(0, turn.start) - 1]",
        "tests/rollout/test_exactness.py::test_a_token_that_a_template_takes_into_the_next_message_leaves_its_turn",
    ),
    Planted(
        "a turn as a sample loses what came before it",
        "rollout/per_turn.py",
        "output.prompt_ids + output.response_ids[:start]",
        "output.prompt_ids",
        "tests/rollout/test_per_turn.py::test_each_turn_is_a_sample_with_all_that_came_before_as_its_prompt",
    ),
    Planted(
        "an environment is not closed",
        "rollout/environment.py",
        "await wait_at_most(close_seconds, environment.close())",
        "pass",
        "tests/rollout/test_many_trajectories.py::test_the_environment_is_closed_whatever_breaks",
    ),
    Planted(
        "an argument that BFCL makes optional is required",
        "bfcl/verdict/checker.py",
        "if key not in call.arguments and not _is_optional(values):",
        "if key not in call.arguments:",
        "tests/bfcl/verdict/test_checker.py::"
        "test_an_argument_may_be_left_out_where_nothing_is_among_its_values_and_the_tool_does_not_require_it",
    ),
    Planted(
        "a long of Java is read as text",
        "bfcl/verdict/java.py",
        '    "long": _long,\n',
        '    "long": _integer,\n',
        "tests/bfcl/verdict/test_checker.py::test_java_is_read_from_source_text",
    ),
    Planted(
        "a Bigint of JavaScript is read as text",
        "bfcl/verdict/javascript.py",
        '    "Bigint": _bigint,\n',
        '    "Bigint": _integer,\n',
        "tests/bfcl/verdict/test_checker.py::test_javascript_is_read_from_source_text",
    ),
    Planted(
        "a private method can be called",
        "bfcl/multi_turn/apis.py",
        'if inspect.isfunction(value) and not key.startswith("_")',
        "if inspect.isfunction(value)",
        "tests/bfcl/multi_turn/test_hostile_calls.py::"
        "test_a_name_that_is_no_public_method_of_the_classes_is_an_unknown_tool_and_changes_nothing",
    ),
    Planted(
        "two trajectories share state",
        "bfcl/multi_turn/apis.py",
        "return copy.deepcopy(instance)",
        "return instance",
        "tests/bfcl/multi_turn/test_isolation.py::test_padding_that_a_booking_changes_is_not_shared",
    ),
    Planted(
        "a tool that is held out can be called",
        "bfcl/multi_turn/environment.py",
        "if self._is_held_out(name):",
        "if name in ():",
        "tests/bfcl/multi_turn/test_environment.py::"
        "test_a_tool_that_is_held_out_is_unknown_until_the_turn_that_brings_it",
    ),
    Planted(
        "a result that is due twice may come once",
        "bfcl/multi_turn/checker.py",
        "if wanted <= self._results",
        "if set(wanted) <= set(self._results)",
        "tests/bfcl/multi_turn/test_environment.py::test_a_result_that_is_due_more_often_must_come_more_often",
    ),
    Planted(
        "source text of a ground truth is evaluated",
        "bfcl/data/answers.py",
        "given = [ast.literal_eval(value) for value in call.args]",
        "given = [eval(ast.unparse(value)) for value in call.args]",
        "tests/bfcl/data/test_multi_turn.py::test_source_that_is_no_call_of_literals_is_refused_and_never_run",
    ),
    Planted(
        "the agent loop reads calls without the tools",
        "rollout/agent_loop.py",
        "            self._reader.tools = {**tools_of_row(extra_info), **offered}\n",
        "",
        "tests/rollout/test_agent_loop.py::test_calls_are_read_by_the_schemas_of_environment_and_row",
    ),
    Planted(
        "a model can call the tool that grades it",
        "rollout/mcp/environment.py",
        "        if name in self._settings.hidden:\n            raise KeyError(name)\n",
        "",
        "tests/rollout/test_mcp.py::test_the_model_is_offered_and_can_call_allowed_tools_alone",
    ),
    Planted(
        "a server's program outlives its trajectory",
        "rollout/mcp/session.py",
        "            self._closing.set()\n",
        "            return\n",
        "tests/rollout/test_mcp.py::test_sessions_over_stdio_have_a_program_each_and_leave_none",
    ),
)
