//! MQTT 5, by `rumqttc`.

use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::mqttbytes::v5::{LastWill, PublishProperties, SubscribeFilter};
use rumqttc_v5::{
    AsyncClient, BrokerSessionResumePolicy, ConnectionError, DisconnectReasonCode, Incoming as Packet,
    MqttOptions, PublishNoticeError, PublishOptions, StateError,
};

use super::{
    CONNECT, Client, Connection, Happened, Lost, NoRoom, Notice, Outcome, PACKET_MAX, Problem, REQUESTS_MAX,
    Reads, SESSION_S, Secure, begin, chain, twin,
};
use crate::mqtt::message::{Incoming, Message, Qos};
use crate::mqtt::settings::Broker;

struct V5(AsyncClient);

twin!(rumqttc_v5);

pub(super) fn connect(
    broker: &Broker,
    secure: &Secure,
    will: &Message,
    clean: bool,
) -> Result<Connection, Problem> {
    let mut options = MqttOptions::new(&*broker.client_id, (&*broker.host, broker.port));
    options.set_connect_timeout(CONNECT);
    options.set_clean_start(clean);
    options.set_session_expiry_interval(Some(SESSION_S));
    options.set_broker_session_resume_policy(BrokerSessionResumePolicy::AllowBrokerOnly);
    options.set_max_packet_size(Some(PACKET_MAX));
    options.set_last_will(LastWill::new(
        &*will.topic,
        will.payload.to_vec(),
        qos(will.qos),
        will.retain,
        None,
    ));
    introduce(&mut options, broker, secure)?;
    let (client, events) = open(options)?;
    Ok(begin(V5(client), events))
}

fn heard(packet: Packet) -> Option<Happened> {
    match packet {
        Packet::ConnAck(packet) => {
            let properties = packet.properties.as_ref();
            Some(Happened::Up {
                packet_max: properties.and_then(|properties| properties.max_packet_size),
                keeps: properties.is_none_or(|properties| properties.retain_available != Some(0)),
            })
        }
        Packet::Publish(packet) => {
            let properties = packet.properties.unwrap_or_default();
            Some(Happened::Message(Incoming {
                topic: String::from_utf8_lossy(&packet.topic).into_owned(),
                payload: packet.payload.to_vec(),
                retain: packet.retain,
                dup: packet.dup,
                response_topic: properties.response_topic,
                correlation: properties.correlation_data.map(|data| data.to_vec()),
            }))
        }
        _ => None,
    }
}

fn lost(error: &ConnectionError) -> Lost {
    let taken = DisconnectReasonCode::SessionTakenOver;
    let taken_over = matches!(
        error,
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) if *reason_code == taken
    );
    let poisoned = matches!(error, ConnectionError::MqttState(StateError::IncomingPacketTooLarge { .. }));
    Lost { why: chain(error), poisoned, taken_over }
}

impl Client for V5 {
    fn publish(&mut self, message: &Message) -> Result<Notice, NoRoom> {
        let mut options = PublishOptions::new(qos(message.qos)).retain(message.retain);
        if let Some(data) = &message.correlation {
            let properties = PublishProperties {
                correlation_data: Some(data.clone().into()),
                ..PublishProperties::default()
            };
            options = options.properties(properties);
        }
        let sent = self.0.try_publish_tracked(&*message.topic, message.payload.to_vec(), options);
        let notice = sent.map_err(|_full| NoRoom)?;
        Ok(Box::pin(async move {
            match notice.wait_completion_async().await {
                Ok(()) => Outcome::Taken,
                Err(error @ (PublishNoticeError::V5PubAck(_) | PublishNoticeError::RetainNotSupported)) => {
                    Outcome::Refused(error.to_string())
                }
                Err(_) => Outcome::Unknown,
            }
        }))
    }

    fn subscribe(&mut self, filters: &[String]) -> Result<(), NoRoom> {
        // What we say ourselves is not to come back, and what is retained is to be seen as that.
        let filter = |filter: &String| SubscribeFilter {
            nolocal: true,
            preserve_retain: true,
            ..SubscribeFilter::new(&**filter, QoS::AtLeastOnce)
        };
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
