//! A roll-out in waves, while another one restarts nodes of the same mesh.

use meshward_core::time::Duration;
use meshward_fleet::rollout::{Effect, Phase, Restart, Rollout, RolloutPlan, Verb};

use super::model::{Image, World};

const HOURS: Duration = Duration::from_secs(3 * 3_600);

fn pass(world: &mut World, rollout: &mut Rollout, span: Duration) {
    let end = world.now + span;
    while world.now < end {
        world.tick();
        world.look(rollout);
    }
}

fn until(world: &mut World, rollout: &mut Rollout, mut done: impl FnMut(&World, &Rollout) -> bool) {
    let end = world.now + Duration::from_secs(86_400);
    while !done(world, rollout) {
        assert!(world.now < end, "{:?}: {}", rollout.phase(), rollout.why());
        world.tick();
        world.look(rollout);
    }
}

fn restarts(world: &World, rollout: &Rollout) -> bool {
    rollout.restarts(world.now, &world.seen().shape)
}

/// Small batches, so that a wave has several.
fn plan() -> RolloutPlan {
    RolloutPlan { restart: Restart { away_percent_most: 5, ..Restart::default() }, ..RolloutPlan::default() }
}

#[test]
fn a_wave_and_a_batch_wait_for_others_and_lose_no_time_by_it() {
    let mut world = World::new(1, 40, Image::Healthy).quiet();
    let mut rollout = world.start(plan());
    world.elsewhere = Some("roll-out 3".to_owned());
    pass(&mut world, &mut rollout, HOURS);
    assert_eq!((rollout.phase(), world.told().len()), (Phase::Waiting, 0));
    let progress = rollout.progress(world.moment(), &world.seen().shape);
    assert_eq!(progress.why, "waits for roll-out 3, which restarts nodes");
    assert!(!restarts(&world, &rollout));
    world.elsewhere = None;
    until(&mut world, &mut rollout, |_, rollout| rollout.phase() == Phase::Activating);
    // What has begun goes on, and nothing more begins, for longer than a batch may take.
    assert!(restarts(&world, &rollout) && !world.told().is_empty());
    world.elsewhere = Some("roll-out 3".to_owned());
    let told = world.told();
    pass(&mut world, &mut rollout, HOURS);
    assert_eq!((rollout.phase(), world.told()), (Phase::Activating, told));
    assert!(!restarts(&world, &rollout), "its batch is over");
    world.elsewhere = None;
    world.run(&mut rollout, Duration::from_secs(86_400));
    assert_eq!((rollout.phase(), world.running(true).len()), (Phase::Finished, 40), "{}", rollout.why());
}

#[test]
fn who_is_resumed_in_the_middle_of_a_batch_waits_as_for_one_that_begins() {
    let mut world = World::new(1, 40, Image::Healthy).quiet();
    let mut rollout = world.start(plan());
    until(&mut world, &mut rollout, |world, _| !world.told().is_empty());
    rollout.act(world.moment(), Verb::Pause, "ada").unwrap();
    world.look(&mut rollout);
    assert!(world.effects.contains(&Effect::Pause));
    world.elsewhere = Some("roll-out 3".to_owned());
    rollout.act(world.moment(), Verb::Resume, "ada").unwrap();
    world.look(&mut rollout);
    assert!(!world.effects.contains(&Effect::Resume), "whom it has told would be told again");
    world.elsewhere = None;
    world.look(&mut rollout);
    assert!(world.effects.contains(&Effect::Resume));
    // Paused it holds nobody up, as soon as those are back whom it sent.
    rollout.act(world.moment(), Verb::Pause, "ada").unwrap();
    pass(&mut world, &mut rollout, HOURS);
    assert!(rollout.phase() == Phase::Activating && !restarts(&world, &rollout));
}

#[test]
fn a_way_back_waits_for_nobody_and_is_waited_for() {
    let mut world = World::new(1, 40, Image::GoesBack(99)).quiet();
    let mut rollout = world.start(RolloutPlan::default());
    until(&mut world, &mut rollout, |world, _| !world.told().is_empty());
    world.elsewhere = Some("roll-out 3".to_owned());
    world.run(&mut rollout, Duration::from_secs(86_400));
    assert_eq!(rollout.phase(), Phase::RolledBack, "{}", rollout.why());
    assert!(!restarts(&world, &rollout));
}

#[test]
fn who_is_away_since_it_was_sent_is_waited_for_as_long_as_the_plan_says() {
    let mut world = World::new(1, 40, Image::Healthy).quiet();
    // Nobody judges them.
    let mut rollout = world.start(RolloutPlan { gates: Vec::new(), ..plan() });
    until(&mut world, &mut rollout, |_, rollout| rollout.phase() == Phase::Soaking);
    let first = *world.told().iter().next().unwrap();
    assert!(!restarts(&world, &rollout), "all are back");
    world.take_away(first, HOURS);
    until(&mut world, &mut rollout, restarts);
    let since = world.now;
    until(&mut world, &mut rollout, |world, rollout| !restarts(world, rollout));
    let most = Duration::from_secs(plan().restart.away_s_most.into());
    assert!(world.now.since(since) <= most + Duration::from_secs(60), "{:?}", world.now.since(since));
}
