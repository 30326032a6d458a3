"""Faults on the way from sampled ids to token weights: bytes, calls, regions, entropy, curriculum, settings."""

from planting import Planted

REGIONS = "tests/core/test_regions.py::"
WEIGHTS = "tests/core/test_weights.py::"

FAULTS = (
    Planted(
        "a region begins one token late",
        "core/regions.py",
        'np.asarray(begins, dtype=np.int64), side="right") - 1',
        'np.asarray(begins, dtype=np.int64), side="right")',
        REGIONS + "test_a_span_paints_every_token_that_it_touches_and_a_later_one_paints_over_it",
    ),
    Planted(
        "the last token of a span is lost",
        "core/regions.py",
        "regions[token:stop] = label",
        "regions[token : stop - 1] = label",
        REGIONS + "test_one_byte_is_enough_for_a_token_to_belong_to_a_region",
    ),
    Planted(
        "turns of one row are read as one text",
        "core/regions.py",
        "begins[:, 1:] &= ~mask[:, :-1]",
        "begins[:, 1:] &= ~mask.cumsum(axis=1)[:, :-1].astype(bool)",
        REGIONS + "test_a_tag_opened_in_one_turn_does_not_reach_into_the_next",
    ),
    Planted(
        "a token of name and arguments counts as arguments",
        "core/regions.py",
        "    yield from ((Region.ARGS, call.arguments) for call in turn.calls if call.arguments is not None)\n"
        "    yield from ((Region.NAME, call.name) for call in turn.calls if call.name is not None)\n",
        "    yield from ((Region.NAME, call.name) for call in turn.calls if call.name is not None)\n"
        "    yield from ((Region.ARGS, call.arguments) for call in turn.calls if call.arguments is not None)\n",
        REGIONS + "test_of_two_regions_in_one_token_the_first_in_precedence_wins",
    ),
    Planted(
        "only the first call of a turn is tagged",
        "core/regions.py",
        "for call in turn.calls if call.name is not None)",
        "for call in turn.calls[:1] if call.name is not None)",
        "tests/commands/doctor/test_tokenizer.py::test_the_names_of_the_example_are_counted_byte_by_byte",
    ),
    Planted(
        "means of a region count what tools wrote (mask dropped)",
        "core/regions.py",
        "self.regions.masked_fill(~self.generated, len(Region)).flatten()",
        "self.regions.flatten()",
        "tests/core/test_tagged.py::test_only_generated_tokens_count",
    ),
    Planted(
        "a stop token is read as text",
        "core/tokens.py",
        "(tokenizer.eos_token_id, tokenizer.pad_token_id)",
        "(tokenizer.pad_token_id,)",
        "tests/core/test_token_bytes.py::test_end_of_turn_and_padding_have_no_bytes",
    ),
    Planted(
        "an added token is read in the byte alphabet",
        "core/tokens.py",
        "for token_id, token in tokens.items()} | plain",
        "for token_id, token in tokens.items()}",
        "tests/core/test_token_bytes.py::test_added_text_is_not_taken_for_the_byte_alphabet",
    ),
    Planted(
        "weights are normalised over the batch",
        "core/weights.py",
        "total = (weights * mask).sum(dim=-1, keepdim=True)\n    tokens = mask.sum(dim=-1, keepdim=True)",
        "total = (weights * mask).sum()\n    tokens = mask.sum()",
        WEIGHTS + "test_normalising_one_row_does_not_depend_on_the_others",
    ),
    Planted(
        "a row without any weight does not train",
        "core/weights.py",
        "tokens.new_ones(()))), mask)",
        "tokens.new_ones(()))), 0.0 * mask)",
        WEIGHTS + "test_a_row_without_weight_counts_all_its_tokens_alike",
    ),
    Planted(
        "alpha has the other sign",
        "core/weights.py",
        "(variance + eps) ** -alpha",
        "(variance + eps) ** alpha",
        WEIGHTS + "test_alpha_is_the_exponent_and_its_sign_the_camp",
    ),
    Planted(
        "small weights are not clamped",
        "core/weights.py",
        "weights.clamp(low, high)",
        "weights.clamp(max=high)",
        WEIGHTS + "test_positive_weights_are_clamped_and_zero_stays_zero",
    ),
    Planted(
        "a ramp does not stop at its limit",
        "core/curriculum.py",
        "bound = max if slope < 0 else min",
        "bound = min if slope < 0 else max",
        "tests/core/test_curriculum.py::test_a_ramp_leaves_its_start_by_its_slope_and_stays_at_its_limit",
    ),
    Planted(
        "the adaptive curriculum runs backwards",
        "core/curriculum.py",
        "max(1.0 - now / first, 0.0)",
        "max(now / first, 0.0)",
        "tests/core/test_curriculum.py::test_the_adaptive_curriculum_follows_the_fall_of_the_structure_entropy",
    ),
    Planted(
        "averages of entropy forget their first value on resume",
        "core/entropy.py",
        'self.structure, self.structure_first = state["structure"], state["structure_first"]',
        'self.structure, self.structure_first = state["structure"], None',
        "tests/core/test_entropy.py::test_a_restored_state_goes_on_as_if_it_had_not_been_stopped",
    ),
    Planted(
        "old and new value of the moving average are exchanged",
        "core/entropy.py",
        "self.decay * old + (1.0 - self.decay) * new",
        "self.decay * new + (1.0 - self.decay) * old",
        "tests/core/test_entropy.py::test_averages_begin_at_the_first_measurement_and_then_move",
    ),
    Planted(
        "of a repeated key the first one wins",
        "formats/parse/json_calls.py",
        "for member in reversed(self.members):",
        "for member in self.members:",
        "tests/formats/test_json_spans.py::test_of_a_repeated_key_the_last_member_counts",
    ),
    Planted(
        "a name that comes after its arguments is not found",
        "formats/parse/json_calls.py",
        'name = found.last(b"name")',
        'name = found.last(b"name") if found.members[:1] == [found.last(b"name")] else None',
        "tests/formats/test_rlla.py::test_arguments_may_come_before_the_name",
    ),
    Planted(
        "levels of JSON are not limited",
        "formats/parse/json_calls.py",
        "> MAX_DEPTH and _is_deeper(value, MAX_DEPTH)",
        "> MAX_DEPTH and _is_deeper(value, 10 * MAX_DEPTH)",
        "tests/formats/test_tool_calls.py::"
        "test_a_call_of_200_levels_can_be_read_and_one_of_201_cannot_wherever_it_is_read_from",
    ),
    Planted(
        "NaN passes for JSON",
        "formats/parse/json_calls.py",
        "json.JSONDecoder(parse_constant=_refuse_constant)",
        "json.JSONDecoder()",
        "tests/formats/test_tool_calls.py::test_what_is_not_strict_json_with_a_name_and_an_object_is_none",
    ),
    Planted(
        "a tag in a string of a call ends reasoning",
        "formats/parse/tags.py",
        "if begin > 0 and tags.in_string is not None:",
        "if begin < 0 and tags.in_string is not None:",
        "tests/formats/test_tags.py::test_a_think_tag_in_a_string_of_a_call_opens_and_closes_nothing",
    ),
    Planted(
        "a turn with a call left open is legal",
        "formats/parse/tags.py",
        "        and all(call.complete for call in turn.calls)\n",
        "",
        "tests/formats/test_hermes.py::"
        "test_a_turn_with_a_block_too_many_or_unclosed_or_without_its_call_is_never_legal",
    ),
    Planted(
        "a format's own stop token is part of the answer",
        "formats/parse/tags.py",
        "for stop in tags.stops:",
        "for stop in tags.stops[1:]:",
        "tests/formats/test_kimi.py::test_the_token_that_ends_a_turn_is_a_marker_and_no_answer",
    ),
    Planted(
        "an expression in a Python call passes for a value",
        "formats/parse/python_calls.py",
        'raise ValueError("not a literal")',
        "return ast.unparse(node)",
        "tests/formats/test_python_calls.py::test_what_is_no_call_with_literals_by_keyword_is_none",
    ),
    Planted(
        "white space of a value is lost",
        "formats/qwen3_coder.py",
        '.removeprefix("\\n").removesuffix("\\n")',
        ".strip()",
        "tests/formats/test_qwen3_coder.py::"
        "test_json_is_read_as_json_and_other_text_as_it_is_but_for_a_newline_on_each_side",
    ),
    Planted(
        "an unknown key of the settings is accepted",
        "config/ramp.py",
        'extra="forbid"',
        'extra="ignore"',
        "tests/config/test_rest.py::test_a_wrong_setting_is_named_with_its_value_and_what_is_allowed",
    ),
    Planted(
        "of several wrong settings only the first is told",
        "config/rest.py",
        '"\\n".join(_describe(item) for item in error.errors())',
        '"\\n".join(_describe(item) for item in error.errors()[:1])',
        "tests/config/test_rest.py::test_every_wrong_setting_has_its_line",
    ),
)
