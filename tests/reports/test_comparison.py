from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

import pytest

from bakeoff.errors import InputError
from bakeoff.records.outcomes import Flag
from bakeoff.records.results import Digests, Limits, TrialResult
from bakeoff.reports.compared import render_comparisons
from bakeoff.reports.comparison import Comparison, compare_jobs, fail_on_regression
from bakeoff.reports.pairing import JobSide, read_side

Make = Callable[..., TrialResult]


def side(make: Make, outcomes: Sequence[str] | dict[str, str], job: str = "base", **fields: object) -> JobSide:
    named = outcomes if isinstance(outcomes, dict) else {f"t{i:02}": outcome for i, outcome in enumerate(outcomes)}
    return read_side([make(task, outcome, **fields) for task, outcome in named.items()], job=job)


def one(base: JobSide, candidate: JobSide, **options: float) -> Comparison:
    return compare_jobs(base, [candidate], **options)[0]


PASSING = ["passed"] * 40


def test_tasks_that_changed_are_named(make: Make) -> None:
    found = one(
        side(make, {"a": "passed", "b": "failed", "c": "passed"}),
        side(make, {"a": "failed", "b": "passed", "c": "passed"}, "new"),
    )
    assert (found.improved, found.regressed, found.unchanged) == (["b"], ["a"], ["c"])
    assert (found.base, found.candidate, found.pairs, found.difference) == ("base", "new", 3, 0.0)
    assert not found.regression


def test_what_cannot_be_paired_is_dropped_with_its_reason(make: Make) -> None:
    base = side(make, {"both": "passed", "old": "passed", "lost": "passed", "none": "model_error"})
    candidate = side(
        make, {"both": "passed", "new": "passed", "lost": "sandbox_error", "none": "passed"}, detail="because"
    )
    found = one(base, candidate)
    assert found.pairs == 1
    assert {item.task: item.reason for item in found.dropped} == {
        "old": "missing in candidate",
        "new": "missing in base",
        "lost": "excluded in candidate: sandbox_error: because",
        "none": "excluded in base: model_error",
    }


def test_another_task_or_verifier_is_not_compared_and_other_limits_are_a_warning(make: Make) -> None:
    def trials(verifier: str, limit: float) -> list[TrialResult]:
        return [
            make("changed", digests=Digests("t1", verifier), limits=Limits(600)),
            make("slower", digests=Digests("t2", "v"), limits=Limits(limit)),
        ]

    found = one(read_side(trials("v", 600), job="base"), read_side(trials("w", 900), job="new"))
    assert [(m.task, m.field, m.base, m.candidate, m.dropped) for m in found.mismatches] == [
        ("changed", "verifier digest", "v", "w", True),
        ("slower", "agent_timeout_sec", "600", "900", False),
    ]
    assert found.unchanged == ["slower"]
    assert [item.reason for item in found.dropped] == ["verifier digest differs"]


def test_replayed_answers_are_not_compared_as_if_they_were_new(make: Make) -> None:
    found = one(side(make, PASSING), side(make, PASSING, "new", flags=(Flag.REPLAYED,)))
    assert {(item.field, item.base, item.candidate) for item in found.mismatches} == {
        ("answers of the model", "live", "recorded")
    }


def test_no_task_in_common_is_an_input_error(make: Make) -> None:
    with pytest.raises(InputError, match=r"missing in base \(1\)"):
        one(side(make, {"a": "passed"}), side(make, {"b": "passed"}))
    with pytest.raises(InputError, match="without results"):
        one(side(make, []), side(make, []))


def test_a_clear_loss_is_a_regression_and_fails_the_gate(make: Make) -> None:
    found = one(side(make, PASSING), side(make, ["failed"] * 12 + ["passed"] * 28, "new"))
    assert found.regression
    assert found.test.p < 0.05
    assert found.interval.high < 0
    assert not fail_on_regression(found).holds
    assert fail_on_regression(one(side(make, PASSING), side(make, ["failed"] * 3 + ["passed"] * 37))).holds
    assert fail_on_regression(one(side(make, PASSING), side(make, ["failed"] * 12 + ["passed"] * 28), margin=0.5)).holds


def test_breaking_is_no_way_past_the_gate_but_skipping_says_nothing(make: Make) -> None:
    broken = one(side(make, PASSING), side(make, ["sandbox_error"] * 12 + ["passed"] * 28, "new"))
    assert not broken.regression
    assert broken.if_excluded_failed is not None
    assert broken.if_excluded_failed.pairs == 40
    assert not fail_on_regression(broken).holds
    assert "counted as failed, as gates do: worse" in " ".join(render_comparisons([broken], "table").split())
    skipped = one(side(make, PASSING), side(make, ["skipped"] * 12 + ["passed"] * 28))
    assert skipped.if_excluded_failed is None
    assert fail_on_regression(skipped).holds


def test_a_metric_compares_rewards_and_no_reward_counts_as_nothing(make: Make) -> None:
    base = read_side([make("a", rewards={"style": 0.5}), make("b", rewards={"style": 0.5})], job="base", metric="style")
    candidate = read_side([make("a", rewards={"style": 0.9}), make("b", "agent_timeout")], job="new", metric="style")
    found = one(base, candidate)
    assert (found.metric, found.difference) == ("style", pytest.approx(-0.05))
    assert (found.improved, found.regressed) == (["a"], ["b"])


def test_tampering_earns_no_reward_by_any_metric(make: Make) -> None:
    tampered = read_side(
        [make("a", "tampered", reward=1.0, rewards={"reward": 1.0}), make("b")], job="j", metric="reward"
    )
    assert tampered.tasks["a"].values == [0.0]


def test_a_metric_that_no_trial_has_is_an_error_with_the_nearest(make: Make) -> None:
    with pytest.raises(InputError, match="did you mean 'style'"):
        read_side([make("a", rewards={"style": 1.0})], job="base", metric="styel")


def test_a_job_of_several_configs_needs_one_picked(make: Make) -> None:
    trials = [make("a", config="one"), make("a", "failed", config="two")]
    with pytest.raises(InputError, match="several configs"):
        read_side(trials, job="matrix")
    with pytest.raises(InputError, match="no such config"):
        read_side(trials, job="matrix", config="three")
    found = one(read_side(trials, job="matrix", config="one"), read_side(trials, job="matrix", config="two"))
    assert found.regressed == ["a"]


def test_attempts_are_averaged_over_those_that_were_scored(make: Make) -> None:
    base = read_side([make("a", attempt=1), make("a", "failed", attempt=2)], job="base")
    candidate = read_side([make("a", attempt=1), make("a", "image_error", attempt=2)], job="new")
    found = one(base, candidate)
    assert (found.base_rate, found.candidate_rate, found.difference) == (0.5, 1.0, 0.5)
    assert found.by_task[0].candidate_attempts == 1
    assert found.if_excluded_failed is not None
    assert found.if_excluded_failed.difference == 0.0


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 5.0}, {"margin": -0.1}, {"margin": float("nan")}])
def test_senseless_settings_are_input_errors(make: Make, options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        one(side(make, PASSING), side(make, PASSING), **options)


def test_json_has_the_fields_that_scripts_rely_on(make: Make) -> None:
    found = one(side(make, ["passed", "failed"], category="c"), side(make, ["failed", "failed"], "new", category="c"))
    told = json.loads(render_comparisons([found], "json"))
    names = (
        "base candidate pairs dropped difference interval test improved regressed unchanged mismatches "
        "minimum_detectable_effect regression margin alpha by_category"
    )
    assert set(names.split()) <= set(told)
    assert {"name", "p"} <= set(told["test"])
    assert (told["regression"], told["regressed"], told["difference"], told["margin"]) == (False, ["t00"], -0.5, 0.0)
    assert told["by_category"]["c"]["pairs"] == 2


def test_several_candidates_share_the_error_and_stand_under_their_base(make: Make) -> None:
    base = side(make, PASSING)
    candidates = [side(make, ["failed"] * count + ["passed"] * (40 - count), f"minus-{count}") for count in (6, 6)]
    found = compare_jobs(base, candidates)
    assert one(base, candidates[0]).regression
    assert not any(comparison.regression for comparison in found)
    told = json.loads(render_comparisons(found, "json"))
    assert (told["base"], told["correction"], len(told["comparisons"])) == ("base", "Holm", 2)
    assert "with all candidates in mind" in render_comparisons(found, "table", width=None)
    assert render_comparisons(found, "md").count("\n## ") == 1


@pytest.mark.parametrize("form", ["table", "md"])
def test_the_answer_comes_first_with_difference_interval_and_test(make: Make, form: str) -> None:
    found = one(side(make, PASSING), side(make, ["failed"] * 12 + ["passed"] * 28, "new"))
    text = " ".join(render_comparisons([found], form).replace("*", "").split())
    assert "new against base" in text.replace("#", "")
    assert "Worse: -30.0 points on 40 tasks, 95% interval -4" in text
    assert "base 100.0%, candidate 70.0%, over the same 40 tasks" in text
    assert "p 0.0005 (McNemar, exact)" in text
    assert "would be found 80% of the time" in text
    assert "Regressed (12)" in text


def test_the_table_fits_80_columns(make: Make) -> None:
    base = side(
        make, {f"org/a-rather-long-name-{i}" * 4: "passed" for i in range(12)}, category="a/very/long/category" * 3
    )
    candidate = side(make, {f"org/a-rather-long-name-{i}" * 4: "failed" for i in range(12)}, "new", category="short")
    text = render_comparisons([one(base, candidate)], "table", width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_csv_has_a_line_a_task_dropped_ones_too(make: Make) -> None:
    base, candidate = side(make, {"a": "passed", "b": "passed"}), side(make, {"a": "failed", "c": "passed"}, "new")
    rows = list(csv.DictReader(io.StringIO(render_comparisons([one(base, candidate)], "csv"))))
    assert [(row["task"], row["status"], row["difference"], row["reason"]) for row in rows] == [
        ("a", "regressed", "-1.0", ""),
        ("b", "dropped", "", "missing in candidate"),
        ("c", "dropped", "", "missing in base"),
    ]
