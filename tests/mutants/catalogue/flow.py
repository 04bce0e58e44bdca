"""Mutants of how steps follow each other: every type of step, references and conditions."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, in_all_that_load, in_consumer
from tests.mutants.patching import Edit

_LOADING = "system.engine.loading"
_COMPOSITES = "system.engine.composites"
_FORKS = "system.engine.forks"
_REFERENCES = "system.engine.references"
_CONDITIONS = "system.engine.conditions"
_PROGRESS = "system.engine.progress:Progress"

LOOPS: tuple[Mutant, ...] = (
    in_consumer(
        "loop-items-reversed",
        "A loop works its collection off from the end, so that items and entries stand in the wrong order.",
        "LOP-07",
        Edit(
            f"{_COMPOSITES}:_open_loop",
            "LoopFrame(tuple(items[: kind.max_iterations]))",
            "LoopFrame(tuple(items[: kind.max_iterations][::-1]))",
        ),
        also=("LOP-01", "REF-13"),
    ),
    in_consumer(
        "loop-index-from-one",
        "loop.index counts from 1.",
        "REF-13",
        Edit("system.engine.scope:Place.loop_variable", '"index": iteration,', '"index": iteration + 1,'),
    ),
    in_consumer(
        "loop-entries-as-they-ended",
        "The entries of a loop's output are in the order in which the iterations ended.",
        "LOP-07",
        Edit(
            f"{_COMPOSITES}:_loop_output",
            "for iteration in range(total):",
            "for iteration in sorted(\n"
            "        range(total), key=lambda i: _last_of_iteration(progress, kind, path, i).completed_at\n"
            "    ):",
        ),
    ),
    in_consumer(
        "continue-stops",
        "A loop with on_error continue stops and fails like one with stop.",
        "LOP-11",
        Edit(
            f"{_LOADING}:_loop",
            'on_error=config.get("on_error") or "stop"',
            'on_error="collect" if config.get("on_error") == "collect" else "stop"',
        ),
        also=("FAI-05",),
    ),
    in_consumer(
        "stop-continues",
        "A loop with on_error stop starts the iterations behind a failed one all the same.",
        "LOP-10",
        Edit(f"{_COMPOSITES}:_start_iterations", ' or (failed and kind.on_error == "stop"):', ":"),
        also=("FAI-04",),
    ),
    in_consumer(
        "stop-completes",
        "A loop with on_error stop ends COMPLETED although an iteration failed.",
        "LOP-10",
        Edit(f"{_COMPOSITES}:_start_iterations", 'if failed and kind.on_error == "stop":', "if False:"),
        also=("FAI-01",),
    ),
    in_consumer(
        "collect-without-messages",
        "A loop with on_error collect leaves the error messages out of its entries.",
        "LOP-12",
        Edit(f"{_COMPOSITES}:_loop_output", 'if last.status == "FAILED" and kind.on_error == "collect":', "if False:"),
    ),
    in_consumer(
        "sequential-loop-in-parallel",
        "A sequential loop starts all its iterations at once.",
        "LOP-04",
        Edit(
            f"{_LOADING}:_loop",
            'max_parallelism=1 if sequential else _limit(config.get("max_parallelism"))',
            'max_parallelism=_NO_LIMIT if sequential else _limit(config.get("max_parallelism"))',
        ),
        also=("LOP-13",),
    ),
    in_consumer(
        "loop-parallelism-ignored",
        "max_parallelism of a parallel loop has no effect.",
        "LOP-05",
        Edit(
            f"{_LOADING}:_loop",
            'max_parallelism=1 if sequential else _limit(config.get("max_parallelism"))',
            "max_parallelism=1 if sequential else _NO_LIMIT",
        ),
    ),
    in_consumer(
        "max-iterations-ignored",
        "max_iterations has no effect.",
        "LOP-09",
        Edit(f"{_LOADING}:_loop", "None if limit is None else int(limit)", "None"),
    ),
    in_consumer(
        "failed-iterations-uncounted",
        "failed_count of a loop is always 0.",
        "LOP-08",
        Edit(f"{_COMPOSITES}:_loop_output", '"failed_count": failed}', '"failed_count": 0}'),
    ),
    in_consumer(
        "failed-body-goes-on",
        "After a failed step of a loop's body the later steps of that iteration run all the same.",
        "LOP-03",
        Edit(f"{_COMPOSITES}:_iteration_went_on", 'if record.status == "COMPLETED" and ', "if "),
        also=("FAI-04",),
    ),
)

PARALLELS_AND_CONDITIONALS: tuple[Mutant, ...] = (
    in_consumer(
        "max-parallelism-ignored",
        "max_parallelism of a parallel step has no effect.",
        "PAR-03",
        Edit(f"{_LOADING}:_kind", '_limit(raw.get("max_parallelism"))', "_NO_LIMIT"),
    ),
    in_consumer(
        "parallel-one-after-another",
        "The steps of a parallel step run one after another.",
        "PAR-02",
        Edit(f"{_LOADING}:_kind", '_limit(raw.get("max_parallelism"))', "1"),
    ),
    in_consumer(
        "parallel-fails-at-first",
        "A parallel step ends FAILED with its first failure, while others of its steps are still at work.",
        "PAR-05",
        Edit(
            f"{_COMPOSITES}:child_ended",
            "progress.frames[path] = replace(frame, in_flight=frame.in_flight - 1)",
            'if record.status == "FAILED":\n'
            "            progress.fail(path, record.failure)\n"
            "            return\n"
            "        progress.frames[path] = replace(frame, in_flight=frame.in_flight - 1)",
        ),
    ),
    in_consumer(
        "parallel-absorbs-failures",
        "A parallel step ends COMPLETED although one of its steps failed.",
        "PAR-05",
        Edit(f"{_COMPOSITES}:_start_children", "    if errors:", "    if errors and len(errors) == len(ended):"),
        also=("FAI-01",),
    ),
    in_consumer(
        "branches-swapped",
        "A conditional takes if_false_step when its condition is true, and the other way round.",
        "CON-01",
        Edit(
            f"{_COMPOSITES}:_open_conditional",
            "kind.if_true if result else kind.if_false",
            "kind.if_false if result else kind.if_true",
        ),
    ),
    in_consumer(
        "run-ends-behind-a-conditional",
        "A run is COMPLETED when a conditional has ended, whatever stands behind it.",
        "CON-04",
        Edit(
            f"{_PROGRESS}._go_on",
            "following = self.definition.steps[record.step_id].next_step",
            "following = self.definition.steps[record.step_id].next_step\n"
            '    if type(self.definition.steps[record.step_id].kind).__name__ == "ConditionalStep":\n'
            "        following = None",
        ),
        also=("CMP-02",),
    ),
    in_consumer(
        "missing-is-true",
        "A condition that cannot be evaluated counts as true.",
        "CND-08",
        Edit(f"{_CONDITIONS}:Condition.holds", "return False", "return True"),
        also=("CON-01",),
    ),
    in_consumer(
        "missing-is-null",
        "A reference in a condition that leads nowhere is null, so that a `not` around it is true.",
        "CND-08",
        Edit(
            f"{_CONDITIONS}:_evaluate",
            "return look_up(node, scope)",
            "try:\n            return look_up(node, scope)\n        except Unresolved:\n            return None",
        ),
    ),
    in_consumer(
        "true-equals-one",
        "== takes true for 1 and false for 0, as the language underneath does.",
        "CND-09",
        Edit("system.engine.values:_scalars_equal", "return one is other", "return bool(one == other)"),
    ),
    in_consumer(
        "or-evaluates-all",
        "`or` evaluates all its operands, so that one that cannot be evaluated spoils one that is true.",
        "CND-13",
        Edit(
            f"{_CONDITIONS}:_evaluate",
            "return any(_truth(_evaluate(operand, scope)) for operand in node.operands)",
            "return any([_truth(_evaluate(operand, scope)) for operand in node.operands])",
        ),
    ),
)

FORKS: tuple[Mutant, ...] = (
    in_consumer(
        "any-ends-early",
        "A fork_join under any ends with the first branch that completes, while others are at work.",
        "FJN-04",
        Edit(
            f"{_FORKS}:_end_branch",
            "    if frame.open:\n",
            '    if frame.open and (failed or kind.join_policy != "any"):\n',
        ),
    ),
    in_consumer(
        "majority-as-half",
        "Half of the branches count as a majority.",
        "FJN-07",
        Edit(f"{_LOADING}:_fork_join", '"majority": total // 2 + 1', '"majority": (total + 1) // 2'),
    ),
    in_consumer(
        "n-of-m-off-by-one",
        "n_of_m is content with one branch less than n_required.",
        "FJN-08",
        Edit(f"{_LOADING}:_fork_join", "required or int(given or 0)", "required or int(given or 0) - 1"),
    ),
    in_consumer(
        "all-as-any",
        "A fork_join under all is COMPLETED although a branch failed.",
        "FJN-05",
        Edit(f"{_LOADING}:_fork_join", '{"all": total,', '{"all": 1,'),
        also=("FAI-01",),
    ),
    in_consumer(
        "branch-backwards",
        "The steps of a branch run from the last to the first.",
        "FJN-02",
        Edit(f"{_FORKS}:open_fork", "progress.begin(branch.steps[0],", "progress.begin(branch.steps[-1],"),
        Edit(
            f"{_FORKS}:went_on",
            '    if record.status == "COMPLETED" and slot.index + 1 < len(steps):\n'
            "        progress.begin(steps[slot.index + 1],",
            '    if record.status == "COMPLETED" and slot.index > 0:\n        progress.begin(steps[slot.index - 1],',
        ),
    ),
    in_consumer(
        "branch-output-of-its-first-step",
        "The output of a branch is that of its first step.",
        "FJN-03",
        Edit(f"{_FORKS}:_last_of_branch", "for step_id in reversed(branch.steps)", "for step_id in branch.steps"),
    ),
    in_consumer(
        "failed-branches-left-out",
        "The output of a fork_join has no key for a branch that failed.",
        "FJN-03",
        Edit(
            f"{_FORKS}:_fork_output",
            "for branch in kind.branches\n",
            "for branch in kind.branches\n        if branch.name not in failed\n",
        ),
    ),
    in_consumer(
        "branch-time-out-never-fires",
        "A branch may take as long as it wants.",
        "FJN-10",
        Edit(f"{_FORKS}:open_fork", "if branch.timeout_seconds is not None:", "if False:"),
        also=("FJN-12", "FJN-13"),
    ),
    in_consumer(
        "branch-time-out-overruled",
        "branch_timeout_seconds overrules the time-out that a branch has of its own.",
        "FJN-12",
        Edit(
            f"{_LOADING}:_fork_join",
            'general if raw.get("timeout_seconds") is None else raw["timeout_seconds"]',
            'raw.get("timeout_seconds") if general is None else general',
        ),
    ),
)

REFERENCES: tuple[Mutant, ...] = (
    in_consumer(
        "embedded-references-stay",
        "A reference within a longer text is not replaced.",
        "REF-02",
        Edit(f"{_REFERENCES}:resolve", "_as_text(part, look_up(part, scope))", "part.text"),
    ),
    in_consumer(
        "values-become-texts",
        "A number or boolean that a whole-string reference names arrives as a text.",
        "REF-01",
        Edit(
            f"{_REFERENCES}:resolve",
            "return look_up(template, scope)",
            "value = look_up(template, scope)\n"
            "        return _as_text(template, value) if isinstance(value, int | float) else value",
        ),
        also=("REF-27",),
    ),
    in_consumer(
        "unresolvable-becomes-null",
        "A reference that leads nowhere is null instead of failing its step.",
        "REF-11",
        Edit(
            f"{_REFERENCES}:resolve",
            "return look_up(template, scope)",
            "try:\n            return look_up(template, scope)\n        except Unresolved:\n            return None",
        ),
    ),
    in_consumer(
        "data-is-resolved-again",
        "A value that has the form of a reference is resolved once more, so that data can read other data.",
        "REF-12",
        Edit(
            f"{_REFERENCES}:resolve",
            "return look_up(template, scope)",
            "value = look_up(template, scope)\n"
            "        known = getattr(scope, 'definition', None)\n"
            "        again = parse_reference(value, known.steps if known else ()) if isinstance(value, str) else None\n"
            "        return value if again is None else look_up(again, scope)",
        ),
        also=("ISO-02",),
    ),
    in_consumer(
        "nested-mappings-stay",
        "References inside nested objects of an input_mapping are not resolved.",
        "REF-03",
        Edit(
            f"{_REFERENCES}:compile_template",
            "fields = tuple((key, compile_template(item, step_ids)) for key, item in value.items())",
            "fields = tuple(\n"
            "            (key, compile_template(item, step_ids) if isinstance(item, str) else item)\n"
            "            for key, item in value.items()\n"
            "        )",
        ),
    ),
    in_consumer(
        "indices-from-one",
        "[n] in a path counts from 1.",
        "REF-08",
        Edit(
            f"{_REFERENCES}:_step_into",
            'return value[part]\n        wanted = f"item',
            'return value[part - 1]\n        wanted = f"item',
        ),
    ),
    in_all_that_load(
        "any-reference-goes",
        "References to steps that run beside, after or around a step are accepted.",
        "REF-17",
        Edit(f"{_LOADING}:_check_references", "if reason is not None:", "if False:"),
        also=("REF-15", "REF-16", "REF-18", "FAI-06", "API-10"),
    ),
    in_all_that_load(
        "unreachable-steps-accepted",
        "A definition with a step that nothing leads to is accepted.",
        "DEF-10",
        Edit(
            "system.engine.structure:check_reach",
            "    _check_unreached([step_id for step_id in steps if step_id not in reached], steps, problems)",
            "    return",
        ),
        also=("FAI-06", "API-10"),
    ),
    in_all_that_load(
        "n-required-unchecked",
        "A fork_join that wants more branches than it has is accepted.",
        "DEF-06",
        Edit(f"{_LOADING}:_fork_join", 'if policy == "n_of_m" and (given is None or int(given) > total):', "if False:"),
        also=("FAI-06", "API-10"),
    ),
    in_all_that_load(
        "successors-inside-accepted",
        "A step inside another one may have a next_step, which is ignored.",
        "DEF-12",
        Edit("system.engine.structure:find_slots", 'if steps[child].get("next_step") is not None:', "if False:"),
        also=("FAI-06", "API-10"),
    ),
)

FLOW = LOOPS + PARALLELS_AND_CONDITIONALS + FORKS + REFERENCES
