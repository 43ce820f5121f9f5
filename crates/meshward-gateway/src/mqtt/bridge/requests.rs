//! What somebody wants who writes to the broker: requests, commands to a node, updates, texts for the mesh. Each comes
//! to a call of the REST interface, or is refused with a reason; answers go where they are wanted.

use meshward_core::time::Instant;
use serde_json::{Value, json};

use super::{Bridge, CALLS_MAX, Reply, Task};
use crate::mqtt::compat::{self, Asked, Old, Outcome};
use crate::mqtt::message::{Incoming, Message, Qos};
use crate::mqtt::request::{self, Request};
use crate::mqtt::settings::Shape;
use crate::mqtt::update;
use crate::rest::inside::{Call, Content};

impl Bridge {
    /// Where the answer to a message goes.
    pub(super) fn reply(&self, name: &str, incoming: &Incoming, transaction: Value) -> Reply {
        let wanted = incoming.response_topic.as_ref().filter(|topic| self.topics.may_answer(topic));
        let topic = wanted.cloned().unwrap_or_else(|| self.topics.of(&format!("response/{name}")));
        let correlation = incoming.correlation.clone().filter(|data| data.len() <= 256);
        Reply { topic, correlation, transaction, old: None }
    }

    pub(super) fn answer(&mut self, reply: Reply, body: &Value) {
        let message = Message::passing(reply.topic, body.to_string(), Qos::AtLeastOnce);
        self.say(Message { correlation: reply.correlation, ..message });
    }

    pub(super) fn refuse(&mut self, reply: Reply, code: u16, why: &str) {
        self.counters.refused += 1;
        let body = request::refusal(code, why, &reply.transaction);
        self.answer(reply, &body);
    }

    pub(super) fn request(&mut self, now: Instant, name: &str, incoming: Incoming) {
        self.counters.requests += 1;
        if let Some(rest) = name.strip_prefix("firmware/upload/") {
            return self.upload(now, rest, incoming);
        }
        let request = match Request::read(&incoming.payload) {
            Ok(request) => request,
            Err(error) => {
                let reply = self.reply(name, &incoming, Value::Null);
                return self.refuse(reply, error.code(), &error.to_string());
            }
        };
        let reply = self.reply(name, &incoming, request.transaction.clone());
        match request.call(name) {
            Ok(call) => self.ask(call, reply),
            Err(error) => self.refuse(reply, error.code(), &error.to_string()),
        }
    }

    pub(super) fn ask(&mut self, call: Call, reply: Reply) {
        if self.calls >= CALLS_MAX {
            return self.refuse(
                reply,
                429,
                &format!("{CALLS_MAX} requests are under way: ask again in a moment"),
            );
        }
        self.calls += 1;
        self.tasks.push_back(Task::Ask(call, reply));
    }

    /// What became of a call.
    pub(crate) fn handle_answer(&mut self, reply: Reply, code: u16, data: Value) {
        self.calls = self.calls.saturating_sub(1);
        if code >= 400 {
            self.counters.refused += 1;
        }
        if let Some(old) = &reply.old {
            let messages = old.answer(self.seen.as_ref(), code, &data);
            return messages.into_iter().for_each(|message| self.say(message));
        }
        let body = request::answer(code, data, &reply.transaction);
        self.answer(reply, &body);
    }

    /// The node of a level.
    fn node_of(&self, level: &str) -> Option<u32> {
        let by_name = self.levels.iter().find(|(_, known)| *known == level).map(|(id, _)| *id);
        by_name.or_else(|| level.parse().ok())
    }

    /// A command to a node: `restart`, `identify`, or a command of REST.
    pub(super) fn command(&mut self, level: &str, incoming: &Incoming) {
        self.counters.requests += 1;
        let name = format!("node/{level}/set");
        let reply = self.reply(&name, incoming, Value::Null);
        let Some(id) = self.node_of(level) else {
            return self.refuse(reply, 404, "there is no such node");
        };
        let fields = match incoming.payload.as_slice() {
            b"restart" => json!({ "command": 1 }),
            b"identify" => json!({ "command": 10, "params": "{\"state\":true,\"blink\":true}" }),
            other => match Request::read(other) {
                Ok(request) if !request.fields.is_empty() => Value::Object(request.fields),
                _ => {
                    let right = "take restart, identify, or {\"command\": NUMBER, \"params\": \"…\"}";
                    return self.refuse(reply, 422, right);
                }
            },
        };
        let call = Call {
            method: "POST",
            target: format!("/api/v1/nodes/{id}/commands"),
            content: Content::Json(fields),
        };
        self.ask(call, reply);
    }

    /// A node is to be brought what is on offer for it.
    pub(super) fn install(&mut self, level: &str, incoming: &Incoming) {
        self.counters.requests += 1;
        let reply = self.reply(&format!("node/{level}/update/set"), incoming, Value::Null);
        if incoming.payload != b"install" {
            return self.refuse(reply, 422, "take install");
        }
        let found = self.node_of(level).zip(self.seen.as_ref()).and_then(|(id, seen)| {
            let each = seen.nodes.iter().find(|each| each.node.id == id)?;
            update::offer(seen, each)
        });
        let Some(offer) = found else {
            return self.refuse(reply, 404, "there is no such node, or nothing on offer for it");
        };
        let content = Content::Json(json!(offer.rollout));
        self.ask(Call { method: "POST", target: "/api/v1/rollouts".to_owned(), content }, reply);
    }

    /// `{"action": "pause", …}` is the request `rollout/pause`.
    pub(super) fn control(&mut self, now: Instant, incoming: Incoming) {
        let read = Request::read(&incoming.payload).ok();
        let action = read.and_then(|mut request| {
            let action = request.fields.remove("action")?.as_str()?.to_owned();
            let mut fields = request.fields;
            fields.insert("transaction".to_owned(), request.transaction);
            Some((action, Value::Object(fields)))
        });
        let Some((action, fields)) = action else {
            let reply = self.reply("rollout", &incoming, Value::Null);
            return self.refuse(reply, 422, "`action` is missing: start, pause, resume, abort or activate");
        };
        let incoming = Incoming { payload: fields.to_string().into_bytes(), ..incoming };
        self.request(now, &format!("rollout/{action}"), incoming);
    }

    /// What the `mqttBridge` example does.
    pub(super) fn pass_on(&mut self, to: &str, incoming: &Incoming) {
        self.counters.requests += 1;
        let seen = self.seen.as_ref();
        match compat::pass_on(&self.settings, seen, to, &incoming.payload) {
            compat::Passed::Answer(message) => self.say(message),
            compat::Passed::Say(node, text) if self.calls < CALLS_MAX => {
                self.calls += 1;
                self.tasks.push_back(Task::Say(node, text));
            }
            compat::Passed::Say(..) | compat::Passed::Nothing => self.counters.refused += 1,
        }
    }

    /// A text was handed to the mesh, or could not be.
    pub(crate) fn handle_said(&mut self, sent: bool) {
        self.calls = self.calls.saturating_sub(1);
        if !sent {
            self.say(compat::not_connected());
        }
    }

    /// A text of a node for the gateway.
    pub(crate) fn handle_text(&mut self, from: u32, text: &[u8]) {
        if let Some(message) = compat::text(&self.settings, from, text) {
            self.say(message);
        }
    }

    /// What the library's command bridge does.
    pub(super) fn old(&mut self, asked: Asked, to: &str, payload: &[u8]) {
        self.counters.requests += 1;
        let (true, Some(seen)) = (self.settings.has(Shape::MeshCommand), &self.seen) else { return };
        let node_of = |name: &str| compat::parse_device(name).or_else(|| self.node_of(name));
        let refused = match compat::old(seen, asked, to, payload, node_of) {
            Outcome::Topology(id) => {
                let message = compat::get_topology(&self.topics, seen, Some(&id));
                return self.say(message);
            }
            Outcome::Calls(calls) if self.calls < CALLS_MAX => {
                self.calls += calls.len();
                let reply = |old| Reply {
                    topic: String::new(),
                    correlation: None,
                    transaction: Value::Null,
                    old: Some(old),
                };
                let calls = calls.into_iter().map(|(call, old)| (call, reply(old))).collect();
                return self.tasks.push_back(Task::Each(calls));
            }
            Outcome::Calls(_) => "too many requests are under way: ask again in a moment",
            Outcome::Refused(why) => why,
        };
        self.counters.refused += 1;
        self.say(Old::refused(asked, to, refused));
    }

    /// A command of the Alteriom documents.
    pub(super) fn alteriom(&mut self, payload: &[u8]) {
        self.counters.requests += 1;
        let (true, Some(seen)) = (self.settings.has(Shape::Alteriom), &self.seen) else { return };
        match compat::read_command(payload) {
            Some((command, id)) => {
                let message = compat::requested(&self.topics, seen, &command, id);
                self.say(message);
            }
            None => self.counters.refused += 1,
        }
    }
}
