//! MQTT 3.1.1, by `rumqttc`.

use rumqttc_v4::mqttbytes::QoS;
use rumqttc_v4::mqttbytes::v4::{LastWill, SubscribeFilter};
use rumqttc_v4::{
    AsyncClient, ConnectionError, Incoming as Packet, MqttOptions, NetworkOptions, PublishOptions,
    StateError, mqttbytes,
};

use super::{
    CONNECT, Client, Connection, Happened, Lost, NoRoom, Notice, OUTGOING_MAX, Outcome, PACKET_MAX_V4,
    Problem, REQUESTS_MAX, Reads, Secure, begin, chain, twin,
};
use crate::mqtt::message::{Incoming, Message, Qos};
use crate::mqtt::settings::Broker;

struct V4(AsyncClient);

twin!(rumqttc_v4);

pub(super) fn connect(
    broker: &Broker,
    secure: &Secure,
    will: &Message,
    clean: bool,
) -> Result<Connection, Problem> {
    let mut options = MqttOptions::new(&*broker.client_id, (&*broker.host, broker.port));
    options.set_clean_session(clean);
    options.set_max_packet_size(PACKET_MAX_V4, OUTGOING_MAX);
    options.set_last_will(LastWill::new(&*will.topic, will.payload.to_vec(), qos(will.qos), will.retain));
    introduce(&mut options, broker, secure)?;
    let (client, mut events) = open(options)?;
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(CONNECT.as_secs());
    events.set_network_options(network);
    Ok(begin(V4(client), events))
}

fn heard(packet: Packet) -> Option<Happened> {
    match packet {
        Packet::ConnAck(_) => Some(Happened::Up { packet_max: None, keeps: true }),
        Packet::Publish(packet) => Some(Happened::Message(Incoming {
            topic: String::from_utf8_lossy(&packet.topic).into_owned(),
            payload: packet.payload.to_vec(),
            retain: packet.retain,
            dup: packet.dup,
            response_topic: None,
            correlation: None,
        })),
        _ => None,
    }
}

fn lost(error: &ConnectionError) -> Lost {
    let poisoned = matches!(
        error,
        ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(
            _
        )))
    );
    // This version does not say why it ends a connection.
    Lost { why: chain(error), poisoned, taken_over: false }
}

impl Client for V4 {
    fn publish(&mut self, message: &Message) -> Result<Notice, NoRoom> {
        let options = PublishOptions::new(qos(message.qos)).retain(message.retain);
        let sent = self.0.try_publish_tracked(&*message.topic, message.payload.to_vec(), options);
        let notice = sent.map_err(|_full| NoRoom)?;
        Ok(Box::pin(async move {
            if notice.wait_completion_async().await.is_ok() { Outcome::Taken } else { Outcome::Unknown }
        }))
    }

    fn subscribe(&mut self, filters: &[String]) -> Result<(), NoRoom> {
        let filter = |filter: &String| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce);
        self.0.try_subscribe_many(filters.iter().map(filter)).map_err(|_full| NoRoom)
    }

    fn unsubscribe(&mut self, filters: &[String]) -> Result<(), NoRoom> {
        filters.iter().try_for_each(|filter| self.0.try_unsubscribe(&**filter).map_err(|_full| NoRoom))
    }

    fn leave(&mut self) {
        // Without room for it the connection is in no state to say good-bye.
        drop(self.0.try_disconnect());
    }
}
