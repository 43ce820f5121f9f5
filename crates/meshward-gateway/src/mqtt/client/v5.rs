//! MQTT 5, by `rumqttc`.

use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::mqttbytes::v5::{LastWill, PublishProperties, SubscribeFilter};
use rumqttc_v5::{
    AsyncClient, BrokerSessionResumePolicy, ConnectionError, DisconnectReasonCode, Event, EventLoop,
    Incoming as Packet, MqttOptions, PublishNoticeError, PublishOptions, StateError, TlsConfiguration,
    Transport,
};
use tokio::sync::mpsc;

use super::{
    CONNECT, Client, Connection, Happened, Lost, NoRoom, Notice, Outcome, PACKET_MAX, Problem, REQUESTS_MAX,
    SESSION_S, Secure, WAITING_MAX, chain,
};
use crate::mqtt::message::{Incoming, Message, Qos};
use crate::mqtt::settings::Broker;

struct V5(AsyncClient);

const fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

pub(super) fn connect(
    broker: &Broker,
    secure: &Secure,
    will: &Message,
    clean: bool,
) -> Result<Connection, Problem> {
    let mut options = MqttOptions::new(&*broker.client_id, (&*broker.host, broker.port));
    options.set_keep_alive(broker.keep_alive_s);
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
    match (&broker.user, &broker.password) {
        (Some(user), Some(password)) => {
            options.set_credentials(&**user, password.clone().into_bytes());
        }
        (Some(user), None) => {
            options.set_username(&**user);
        }
        (None, _) => {}
    }
    match secure {
        Secure::No => {}
        Secure::System => {
            let tls = TlsConfiguration::try_default_rustls();
            options
                .set_transport(Transport::tls_with_config(tls.map_err(|error| Problem::Tls(chain(&error)))?));
        }
        Secure::Files { ca, client } => {
            options.set_transport(Transport::tls(ca.clone(), client.clone(), None));
        }
    }
    let built = AsyncClient::builder(options).capacity(REQUESTS_MAX).try_build();
    let (client, events) = built.map_err(|error| Problem::Options(chain(&error)))?;
    let (sender, happened) = mpsc::channel(WAITING_MAX);
    let task = tokio::spawn(drive(events, sender));
    Ok(Connection { client: Box::new(V5(client)), happened, task })
}

/// Reads and writes until the connection is lost.
async fn drive(mut events: EventLoop, happened: mpsc::Sender<Happened>) {
    loop {
        let told = match events.poll().await {
            Ok(Event::Incoming(packet)) => heard(packet),
            Ok(_) => None,
            Err(error) => Some(Happened::Lost(lost(&error))),
        };
        let over = matches!(told, Some(Happened::Lost(_)));
        if let Some(told) = told
            && happened.send(told).await.is_err()
        {
            return;
        }
        if over {
            return;
        }
    }
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
