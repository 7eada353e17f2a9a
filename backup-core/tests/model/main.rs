//! The protocol of commit, removal and prune as a small model, and every order of its steps.
//!
//! The model knows nothing of bytes: a pack holds one chunk, the log is a list, a step is one call of a store. All reachable states are
//! visited. In each, whatever has crashed or stalled by then, a snapshot in use has its packs. Rules that the protocol could be thought to do
//! without are taken away one by one: each time the checker finds the loss.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod protocol;

use std::collections::HashMap;

use protocol::{Rules, World};

/// Visits every state that can be reached. The number of states, or the way to the first one that loses something.
fn explore(start: World, rules: Rules) -> Result<usize, Vec<World>> {
    let mut from: HashMap<World, Option<World>> = HashMap::from([(start.clone(), None)]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        if world.loses() {
            let mut way = vec![world];
            while let Some(Some(before)) = way.last().and_then(|world| from.get(world)) {
                way.push(before.clone());
            }
            way.reverse();
            return Err(way);
        }
        for next in world.steps(rules) {
            if !from.contains_key(&next) {
                from.insert(next.clone(), Some(world.clone()));
                open.push(next);
            }
        }
    }
    Ok(from.len())
}

fn is_safe(name: &str, world: World) {
    match explore(world, Rules::ALL) {
        Ok(states) => println!("{name}: {states} states, nothing is lost in any"),
        Err(way) => panic!("{name}: lost after {} steps:\n{way:#?}", way.len()),
    }
}

#[test]
fn no_order_of_steps_of_two_writers_and_two_prunes_loses_a_chunk() {
    is_safe("one writer, one prune", World::new(1, 1));
    is_safe("one writer, two prunes", World::new(1, 2));
    is_safe("two writers, one prune", World::new(2, 1));
    is_safe("two writers, two prunes", World::new(2, 2));
}

#[test]
fn every_rule_is_needed() {
    type TakeAway = fn(&mut Rules);
    let without: [(&str, TakeAway); 5] = [
        ("a commit looks at what was condemned meanwhile", |rules| {
            rules.commit_checks_what_it_reuses = false
        }),
        ("a commit looks at its own packs too", |rules| rules.commit_checks_its_own = false),
        ("a prune marks what was committed meanwhile", |rules| rules.prune_marks_again = false),
        ("stray packs are condemned in the log before they are deleted", |rules| {
            rules.strays_are_logged = false
        }),
        ("a number of the log is used once", |rules| rules.numbers_are_used_once = false),
    ];
    for (rule, take_away) in without {
        let mut rules = Rules::ALL;
        take_away(&mut rules);
        let way = explore(World::new(2, 1), rules).expect_err(rule);
        println!("without the rule that {rule}: a chunk is lost after {} steps", way.len() - 1);
    }
}
