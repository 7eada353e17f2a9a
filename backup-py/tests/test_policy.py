"""Policies: data in, what is due and what is covered out."""

from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import backup_py
from backup_py import Collection, FolderSource, LastBackup, Policy, Protectable, Repository

RULES: dict[str, object] = {
    "rules": [
        {"name": "scratch", "include": {"paths": ["/scratch/**"]}, "exclude": "rebuilt every night"},
        {"name": "gold", "include": {"labels": [{"name": "tier", "value": "gold"}]}, "every_minutes": 15},
        {
            "name": "folders",
            "include": {"kinds": ["folder"], "groups": ["staff"]},
            "every_minutes": 60,
            "retention": {"daily": 14},
        },
    ]
}
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)


def folder(path: str, **more: object) -> Protectable:
    return Protectable(Collection(id=f"folder:{path}", kind="folder"), path, **more)  # type: ignore[arg-type]


LISTED = [
    folder("/scratch/a"),
    folder("/srv/a", groups=["staff"], bytes=1000),
    folder("/srv/b", groups=("staff", "others")),
    folder("/srv/c", labels={"tier": "gold"}),
    folder("/srv/d", bytes=7),
]
LAST = [
    LastBackup("folder:/srv/a", good=NOW - timedelta(minutes=50)),
    LastBackup("folder:/srv/c", good=NOW - timedelta(minutes=20), attempt=int((NOW.timestamp() - 60) * 10**9)),
    LastBackup("folder:/srv/gone", good=NOW),
]


def test_a_plan_says_what_is_due_and_when_to_ask_again() -> None:
    policy = Policy(RULES)
    policy.validate()
    plan = policy.plan(NOW, LISTED, LAST)
    (due,) = plan.due
    assert (due.collection.id, due.rule, due.never, due.overdue_seconds) == ("folder:/srv/b", "folders", True, 0)
    assert plan.next_at == NOW + timedelta(minutes=10)
    later = policy.plan(NOW + timedelta(minutes=20), iter(LISTED), iter(LAST))
    assert [due.collection.id for due in later.due] == ["folder:/srv/b", "folder:/srv/c", "folder:/srv/a"]
    assert later.due[1].overdue_seconds == 25 * 60
    assert later.next_at is None
    assert len(policy.plan(NOW, LISTED).due) == 3
    assert policy.plan(int(NOW.timestamp()) * 10**9, LISTED, LAST) == plan


def test_coverage_leaves_nothing_out() -> None:
    coverage = Policy(json.dumps(RULES)).coverage(NOW, LISTED, LAST)
    assert [each.rule for each in coverage.protected] == ["folders", "folders", "gold"]
    assert coverage.protected[0].bytes == 1000
    (excluded,) = coverage.excluded
    assert (excluded.collection.id, excluded.reason) == ("folder:/scratch/a", "rebuilt every night")
    (unprotected,) = coverage.unprotected
    assert (unprotected.path, unprotected.bytes) == ("/srv/d", 7)
    assert [due.collection.id for due in coverage.overdue] == ["folder:/srv/b", "folder:/srv/c"]
    assert coverage.gone == ("folder:/srv/gone",)
    assert pickle.loads(pickle.dumps(coverage)) == coverage


def test_a_policy_is_data() -> None:
    policy = Policy(json.dumps(RULES).encode())
    assert policy == Policy(RULES) == pickle.loads(pickle.dumps(policy)) == Policy(policy.to_json())
    assert hash(policy) == hash(Policy(policy.to_dict()))
    assert policy != Policy({"rules": []})
    assert policy != RULES
    rule = policy.rule("folders")
    assert rule is not None
    assert (rule["every_minutes"], rule["retention"]["daily"]) == (60, 14)
    assert policy.rule("nothing") is None
    assert policy.rule_for(LISTED[1]) == rule
    assert policy.rule_for(LISTED[4]) is None
    assert "3 rules" in repr(policy)


def test_a_rule_says_what_is_retained(repository: Repository, tree: Path) -> None:
    source = FolderSource(tree)
    snapshot = repository.backup(source).snapshot
    rule = Policy(RULES).rule("folders")
    assert rule is not None
    decided = repository.retain({source.collection: rule["retention"]}, dry_run=True)
    assert [decision.id for decision in decided[source.collection]] == [snapshot]


@pytest.mark.parametrize(
    "wrong",
    [
        "no json",
        b"\xff",
        {"rules": [{"name": "a", "include": {}, "every_minuets": 60}]},
        {"rules": [{"name": "a", "include": {"kind": ["folder"]}, "every_minutes": 60}]},
        {"rule": []},
    ],
)
def test_what_is_no_policy_is_refused(wrong: object) -> None:
    with pytest.raises(backup_py.InvalidArgumentError):
        Policy(wrong)  # type: ignore[arg-type]


def test_a_wrong_rule_plans_nothing() -> None:
    for rule in (
        {"name": "a", "include": {}},
        {"name": "a", "include": {"paths": ["["]}, "every_minutes": 1},
        {"name": "a", "include": {}, "every_minutes": 1, "exclude": "why"},
    ):
        policy = Policy({"rules": [{"name": "fine", "include": {"kinds": ["x"]}, "every_minutes": 1}, rule]})
        for ask in (
            policy.validate,
            lambda: policy.plan(NOW, LISTED),  # noqa: B023 - called at once
            lambda: policy.coverage(NOW, []),  # noqa: B023
            lambda: policy.rule_for(LISTED[0]),  # noqa: B023
        ):
            with pytest.raises(backup_py.InvalidArgumentError) as raised:
                ask()
            assert raised.value.item == "a"
    with pytest.raises(TypeError):
        Policy(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time zone"):
        Policy(RULES).plan(datetime(2026, 1, 1), [])
    with pytest.raises(AttributeError):
        Policy(RULES).plan(NOW, ["folder:/srv/a"])  # type: ignore[list-item]
