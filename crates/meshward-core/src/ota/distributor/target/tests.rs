//! What a target is sent when what it said, or did not say, has more than one meaning.

use super::*;

const LAST: u32 = 9;

/// A target and the time.
struct Course {
    target: Target,
    now: Instant,
    seen: Seen,
}

impl Course {
    fn new() -> Self {
        let mut course = Self {
            target: Target::new(Instant::ORIGIN, true),
            now: Instant::ORIGIN,
            seen: Seen { loss: Loss::default(), ..Seen::default() },
        };
        course.is_there(true);
        course
    }

    fn is_there(&mut self, there: bool) {
        self.target.seen(self.now, there.then_some((1, 2)));
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.target.overdue(self.now, &mut self.seen);
    }

    /// Waits for what it says next by itself, or for its end.
    fn says(&mut self) -> Option<Step> {
        let can = Leave {
            start: true,
            send: true,
            serve: true,
            search: true,
            finish: true,
            judge: true,
            ..Leave::default()
        };
        let leave = Leave { last: LAST, patience: Duration::from_secs(2), ..can };
        while !self.target.is_final() {
            if let Some(step) = self.target.next_step(self.now, leave) {
                return Some(step);
            }
            let next = self.target.deadline().unwrap_or_else(|| panic!("{:?} waits for ever", self.target));
            self.wait(next.max(self.now).since(self.now));
        }
        None
    }

    fn step(&mut self) -> Step {
        self.says().unwrap_or_else(|| panic!("it has ended: {:?}", self.target))
    }

    fn asks(&mut self, part: u32) {
        self.target.asked(self.now, part, LAST, None);
    }

    fn answers_probe(&mut self) {
        self.target.probe_answered(self.now, Duration::from_millis(100), false, &mut self.seen.loss);
    }

    /// Up to its last part.
    fn finishing() -> Self {
        let mut course = Self::new();
        assert_eq!(course.step(), Step::Announce { broadcasted: false });
        for part in 0..LAST {
            course.asks(part);
            assert_eq!(course.step(), Step::Part { part, probed: false });
        }
        course.asks(LAST);
        assert_eq!(course.step(), Step::Last);
        course
    }

    /// Up to the verdict, after it has restarted.
    fn verdict() -> Self {
        let mut course = Self::finishing();
        course.wait(Duration::from_secs(2));
        course.is_there(false);
        course.wait(Duration::from_secs(3));
        course.is_there(true);
        course
    }

    fn is_updated(&mut self) -> bool {
        self.answers_probe();
        (0..7).for_each(|_| self.wait(Duration::from_secs(1)));
        self.target.state == TargetState::Updated
    }
}

#[test]
fn silence_after_a_verdict_means_updated() {
    let mut course = Course::verdict();
    assert_eq!(course.step(), Step::Verdict { wakes: 0..0 });
    assert!(course.is_updated());
}

#[test]
fn one_that_did_not_leave_is_sent_its_last_part_again() {
    let mut course = Course::finishing();
    course.seen.loss.broadcast(1_000_000);
    for (silences, wakes) in [(0, 0..0), (1, 0..1), (2, 0..2)] {
        assert_eq!(course.step(), Step::Verdict { wakes }, "after {silences}");
        assert_ne!(course.target.state, TargetState::Updated);
        course.answers_probe();
    }
    assert_eq!(course.says(), None);
    assert_eq!(course.target.state, TargetState::Updated, "others' restarts hid its own");
}

#[test]
fn one_lost_from_sight_in_the_middle_is_woken_before_it_is_judged() {
    let mut course = Course::verdict();
    assert_eq!(course.step(), Step::Verdict { wakes: 0..0 });
    for part in 0..3 {
        course.asks(part);
        assert_eq!(course.step(), Step::Part { part, probed: false });
    }
    course.asks(3);
    // A relay above it restarts, or it does.
    course.is_there(false);
    course.wait(Duration::from_secs(3));
    course.is_there(true);
    let step = course.step();
    assert_eq!(step, Step::Verdict { wakes: 3..5 }, "whether it had part 3 or not, it asks for the next");
    course.asks(4);
    assert_eq!(course.step(), Step::Part { part: 4, probed: false });
}

#[test]
fn one_whose_requests_get_lost_is_sent_the_first_part_and_not_taken_for_another_image() {
    let mut course = Course::new();
    assert_eq!(course.step(), Step::Announce { broadcasted: false });
    course.answers_probe();
    assert_eq!(course.step(), Step::Question { wakes: 0..0 });
    course.answers_probe();
    assert_eq!(course.step(), Step::Question { wakes: 0..1 }, "it may have taken the Announce");
    course.asks(1);
    assert_eq!(course.step(), Step::Part { part: 1, probed: false });
}

#[test]
fn one_that_may_ask_in_our_name_is_sent_what_was_asked_for() {
    let mut course = Course::new();
    course.target.test(course.now, 4, false);
    let steps = [(); 3].map(|()| {
        let step = course.step();
        course.answers_probe();
        step
    });
    assert_eq!(steps[2], Step::Question { wakes: 4..5 });
    course.asks(5);
    assert_eq!(course.step(), Step::Part { part: 5, probed: false });
}

#[test]
fn one_that_is_made_to_forget_takes_the_announce_before_anything_else() {
    let mut course = Course::new();
    for _ in 0..3 {
        course.step();
        course.answers_probe();
    }
    course.asks(5);
    assert_eq!(course.step(), Step::Rescue(5));
    assert_eq!(course.step(), Step::Announce { broadcasted: false });
    course.asks(0);
    assert_eq!(course.step(), Step::Part { part: 0, probed: false });
}

#[test]
fn one_that_does_not_forget_is_served_from_where_it_is() {
    let mut course = Course::new();
    course.step();
    for _ in 0..RESCUES {
        course.asks(2);
        assert_eq!(course.step(), Step::Rescue(2));
        assert_eq!(course.step(), Step::Announce { broadcasted: false });
    }
    course.asks(2);
    assert_eq!(course.step(), Step::Part { part: 2, probed: false });
}

#[test]
fn one_that_answers_late_is_not_deaf() {
    let mut course = Course::new();
    // What goes to others comes through.
    course.seen.loss.broadcast(1_000_000);
    for said in 1..100 {
        if course.says().is_none() {
            break;
        }
        if said > 9 {
            course.answers_probe();
        }
    }
    assert_eq!(course.target.state, TargetState::Declined);
}

#[test]
fn one_that_never_answers_is_deaf() {
    let mut course = Course::new();
    course.seen.loss.broadcast(1_000_000);
    let said = (0..100).take_while(|_| course.says().is_some()).count();
    assert_eq!((course.target.state, said), (TargetState::Failed(FailReason::Silent), 10));
}

#[test]
fn a_probe_to_one_that_left_is_not_under_way_for_ever() {
    let mut course = Course::new();
    course.target.enter(TargetState::Ready, None);
    course.target.due = true;
    assert_eq!(course.step(), Step::Question { wakes: 0..0 });
    course.asks(LAST);
    assert_eq!(course.target.load(course.now), 1);
    course.is_there(false);
    course.is_there(true);
    assert_eq!(course.target.load(course.now), 0, "it would keep all others from their parts");
    assert_eq!(course.step(), Step::Last);
}
