//! Bugs on purpose: one for every checker, so that each proves that it can fail.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A boot loader starts whatever the newest record names, and the image has a bit turned over.
    UncheckedBoot,
    /// An update erases both boot records before it restarts.
    BothRecordsErased,
    /// A host that reports an update starts the old image again, in silence.
    SilentRevert,
    /// A roll-out's report leaves out its first target.
    ForgottenTarget,
    /// One host's tree lacks the last node.
    ShortTree,
    /// A relay now and then passes an application's message on twice.
    SecondCopy,
    /// A relay now and then drops an application's message.
    LostMessage,
    /// A node was born without a bound on its queues, and is flooded.
    Unbounded,
    /// A byte changes on its way now and then.
    GarbledFrame,
    /// Nothing that two neighbours say to each other arrives any more, for ever.
    DeadLink,
    /// The program panics.
    Panic,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::UncheckedBoot,
        Self::BothRecordsErased,
        Self::SilentRevert,
        Self::ForgottenTarget,
        Self::ShortTree,
        Self::SecondCopy,
        Self::LostMessage,
        Self::Unbounded,
        Self::GarbledFrame,
        Self::DeadLink,
        Self::Panic,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UncheckedBoot => "unchecked-boot",
            Self::BothRecordsErased => "both-records-erased",
            Self::SilentRevert => "silent-revert",
            Self::ForgottenTarget => "forgotten-target",
            Self::ShortTree => "short-tree",
            Self::SecondCopy => "second-copy",
            Self::LostMessage => "lost-message",
            Self::Unbounded => "unbounded",
            Self::GarbledFrame => "garbled-frame",
            Self::DeadLink => "dead-link",
            Self::Panic => "panic",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plant| plant.name() == text)
    }
}
