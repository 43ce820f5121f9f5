//! Images that come in chunks: begun, brought and ended by requests; what is whole goes to the REST interface.

use meshward_core::time::Instant;
use serde_json::Value;

use super::Bridge;
use crate::mqtt::firmware::Begin;
use crate::mqtt::message::Incoming;
use crate::mqtt::request::{self, Request};
use crate::rest::inside::{Call, Content};

impl Bridge {
    /// What a request below `firmware/upload/` comes to.
    pub(super) fn upload(&mut self, now: Instant, rest: &str, incoming: Incoming) {
        let verb = rest.split('/').next().unwrap_or_default();
        let name = format!("firmware/upload/{verb}");
        if let (true, Some(number)) = (self.settings.may_act(), rest.strip_prefix("chunk/")) {
            let reply = self.reply(&name, &incoming, Value::Null);
            // A good chunk is only answered where somebody wants to hear of it.
            let wanted = incoming.response_topic.is_some();
            return match self.uploads.chunk(now, number, incoming.payload) {
                Ok(report) if wanted => self.answer(reply, &request::answer(200, report, &Value::Null)),
                Ok(_) => {}
                Err(error) => self.refuse(reply, 422, &error.to_string()),
            };
        }
        let request = Request::read(&incoming.payload);
        let transaction = request.as_ref().map(|request| request.transaction.clone()).unwrap_or_default();
        let reply = self.reply(&name, &incoming, transaction);
        let fields = match request {
            _ if !self.settings.may_act() => {
                return self.refuse(reply, 403, "this needs the role operator: see mqtt.role");
            }
            Ok(request) => Value::Object(request.fields),
            Err(error) => return self.refuse(reply, error.code(), &error.to_string()),
        };
        match rest {
            "begin" => match serde_json::from_value::<Begin>(fields) {
                Err(error) => self.refuse(reply, 422, &error.to_string()),
                Ok(begin) => match self.uploads.begin(now, &begin) {
                    Ok(report) => {
                        let body = request::answer(200, report, &reply.transaction);
                        self.answer(reply, &body);
                    }
                    Err(error) => self.refuse(reply, 422, &error.to_string()),
                },
            },
            "end" => match self.uploads.end(now, fields.get("sha256").and_then(Value::as_str)) {
                Ok(image) => {
                    let target =
                        format!("/api/v1/firmware?name={}", crate::rest::inside::encoded(&image.name));
                    let call = Call { method: "POST", target, content: Content::Bytes(image.bytes) };
                    self.ask(call, reply);
                }
                Err(error) => self.refuse(reply, 422, &error.to_string()),
            },
            _ => self.refuse(reply, 404, "there are begin, chunk/NUMBER and end"),
        }
    }
}
