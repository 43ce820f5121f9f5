//! What a shell drives, and what runs beside it.

use core::fmt::Debug;

use meshward_core::flash::{Completion, FlashOp};
use meshward_core::mesh::{LinkId, LinkRole, Outgoing};
use meshward_core::node::{Event, Node};
use meshward_core::time::Instant;

/// A machine with the driving contract of `meshward-core`'s first page: a [`Node`], or something that is
/// driven like one.
pub trait Machine: Debug + Send + 'static {
    /// What it reports.
    type Event: Send;

    /// As [`Node::handle_link_up`].
    fn handle_link_up(&mut self, now: Instant, role: LinkRole) -> Option<LinkId>;

    /// As [`Node::handle_link_down`].
    fn handle_link_down(&mut self, now: Instant, link: LinkId);

    /// As [`Node::handle_data`].
    fn handle_data(&mut self, now: Instant, link: LinkId, data: &[u8]);

    /// As [`Node::handle_timeout`].
    fn handle_timeout(&mut self, now: Instant);

    /// As [`Node::handle_flash`].
    fn handle_flash(&mut self, now: Instant, completion: Completion<'_>);

    /// When to call [`Machine::handle_timeout`] next.
    fn poll_timeout(&self) -> Option<Instant>;

    /// As [`Node::poll_flash`].
    fn poll_flash(&mut self) -> Option<FlashOp>;

    /// As [`Node::poll_event`].
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// As [`Node::outgoing`].
    fn outgoing(&self, link: LinkId) -> Outgoing<'_>;

    /// As [`Node::sent`].
    fn sent(&mut self, link: LinkId, count: usize);

    /// Whether an event asks for a reset of the machine.
    fn is_restart(event: &Self::Event) -> bool;
}

impl Machine for Node {
    type Event = Event;

    fn handle_link_up(&mut self, now: Instant, role: LinkRole) -> Option<LinkId> {
        self.handle_link_up(now, role)
    }

    fn handle_link_down(&mut self, now: Instant, link: LinkId) {
        self.handle_link_down(now, link);
    }

    fn handle_data(&mut self, now: Instant, link: LinkId, data: &[u8]) {
        self.handle_data(now, link, data);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn handle_flash(&mut self, now: Instant, completion: Completion<'_>) {
        self.handle_flash(now, completion);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout().map(|(due, _)| due)
    }

    fn poll_flash(&mut self) -> Option<FlashOp> {
        self.poll_flash()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }

    fn outgoing(&self, link: LinkId) -> Outgoing<'_> {
        self.outgoing(link)
    }

    fn sent(&mut self, link: LinkId, count: usize) {
        self.sent(link, count);
    }

    fn is_restart(event: &Event) -> bool {
        event.is_restart()
    }
}

/// What runs beside a machine in its task: it is told every event and may act on the machine at once.
pub trait Application: Send + 'static {
    /// What it runs beside.
    type Machine: Machine;

    /// Something happened on the machine.
    fn on_event(
        &mut self,
        now: Instant,
        machine: &mut Self::Machine,
        event: &<Self::Machine as Machine>::Event,
    );

    /// When to call [`Application::handle_timeout`] next.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// That time has come.
    fn handle_timeout(&mut self, _now: Instant, _machine: &mut Self::Machine) {}
}
