//! Messages of the agent protocol as version 1.0 wrote them (`golden/*.hex`, made by hand from its field numbers, not by this code): an agent or a controller of that version is understood, and
//! what it sent is written again octet by octet. A change that breaks one of them breaks the fleets in the field.

use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::agent::v1::controller_message::Message as Down;
use hawser_proto::agent::v1::{AgentMessage, ControllerMessage, NackKind, PathState};
use hawser_proto::peer::v1::PeerMessage;
use hawser_proto::peer::v1::peer_message::Message as Peer;
use prost::Message as _;

fn octets(hex: &str) -> Vec<u8> {
    let hex = hex.trim();
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).expect("hexadecimal"))
        .collect()
}

macro_rules! golden {
    ($name:literal) => {
        octets(include_str!(concat!("golden/", $name, ".hex")))
    };
}

fn from_agent(octets: &[u8]) -> Up {
    let message = AgentMessage::decode(octets).expect("a message of 1.0");
    assert_eq!(message.encode_to_vec(), octets, "no octet is lost");
    message.message.expect("a kind that is known")
}

fn from_controller(octets: &[u8]) -> Down {
    let message = ControllerMessage::decode(octets).expect("a message of 1.0");
    assert_eq!(message.encode_to_vec(), octets, "no octet is lost");
    message.message.expect("a kind that is known")
}

#[test]
fn what_an_agent_of_1_0_says_is_understood() {
    let Up::Hello(hello) = from_agent(&golden!("hello")) else { panic!("no Hello") };
    assert_eq!((hello.protocol_major, hello.protocol_minor), (1, 0));
    assert_eq!((&*hello.fleet, &*hello.edge, &*hello.boot_id), ("acme", "b1-1", "0f0e"));
    assert_eq!((hello.facts_version, hello.revocations), (12, 0), "it knows no list");
    let state = hello.generations.expect("its generations");
    assert_eq!(state.highest_seen.map(|id| (id.epoch, id.number)), Some((1, 7)));
    assert_eq!(state.confirmed.map(|id| id.number), Some(6));
    assert_eq!(state.refused[0].kind(), NackKind::Rejected);

    let Up::Ack(ack) = from_agent(&golden!("ack")) else { panic!("no Ack") };
    assert_eq!(ack.id.map(|id| id.number), Some(7));
    let Up::Nack(nack) = from_agent(&golden!("nack")) else { panic!("no Nack") };
    assert_eq!((nack.kind(), &*nack.faults[0].code), (NackKind::Unconfirmed, "UNCONFIRMED"));
    let Up::LocalFacts(facts) = from_agent(&golden!("local_facts")) else { panic!("no facts") };
    assert_eq!((facts.uplinks[0].mtu_bytes, facts.uplinks[0].carrier), (1500, true));
    let Up::Telemetry(told) = from_agent(&golden!("telemetry")) else { panic!("no telemetry") };
    assert_eq!((told.paths[0].path_id, told.paths[0].state()), (9, PathState::Up));
    assert!(told.paths[0].verdicts[0].meets);
    let Up::Decisions(told) = from_agent(&golden!("decisions")) else { panic!("no decisions") };
    assert_eq!((told.decisions[0].to_path_id, &*told.decisions[0].cause), (2, "PATH_DOWN"));
    let Up::Events(told) = from_agent(&golden!("events")) else { panic!("no events") };
    assert_eq!(told.events[0].code, "PATH_UP");
    let Up::FactsAck(ack) = from_agent(&golden!("facts_ack")) else { panic!("no FactsAck") };
    assert_eq!(ack.version, 12);
}

#[test]
fn what_a_controller_of_1_0_says_is_understood() {
    let Down::Welcome(welcome) = from_controller(&golden!("welcome")) else { panic!("no Welcome") };
    assert_eq!((welcome.telemetry_interval_ms, welcome.revocations), (1000, 0));
    assert_eq!(welcome.confirmed.map(|id| id.number), Some(7));
    let Down::Generation(generation) = from_controller(&golden!("generation")) else {
        panic!("no generation")
    };
    assert_eq!((generation.revision, generation.config_sha256.len()), (3, 32));
    let Down::Facts(facts) = from_controller(&golden!("facts")) else { panic!("no facts") };
    assert_eq!((facts.version, facts.full, facts.endpoints[0].uplink_id), (12, true, 3));
    let Down::Advice(advice) = from_controller(&golden!("advice")) else { panic!("no advice") };
    assert_eq!((advice.ttl_s, &advice.avoid_path_ids[..]), (300, &[4, 5][..]));
    let Down::Refusal(refusal) = from_controller(&golden!("refusal")) else { panic!("no refusal") };
    assert_eq!(refusal.code, "EDGE_UNKNOWN");
}

/// A later version says more than this one knows.
#[test]
fn kinds_and_fields_that_are_not_known_are_left_out() {
    let unknown_kind = [0xfa, 0x07, 0x02, 0x08, 0x01];
    assert_eq!(AgentMessage::decode(&unknown_kind[..]).expect("a message").message, None);
    assert_eq!(ControllerMessage::decode(&unknown_kind[..]).expect("a message").message, None);
    let mut more = golden!("facts_ack");
    // Field 100 of FactsAck, and its length with it.
    more[1] += 3;
    more.extend([0xa0, 0x06, 0x01]);
    let message = AgentMessage::decode(more.as_slice()).expect("a message");
    assert!(matches!(message.message, Some(Up::FactsAck(ack)) if ack.version == 12));
}

/// Between agents: who has one lane says what 1.0 said, which knew no lanes, and what 1.0 says is one lane.
#[test]
fn lanes_are_said_only_where_there_are_several() {
    let offer = "08071001 18b424 22020102 2a0b6165732d3132382d67636d";
    let answer = "08071001 18b424 22020102";
    for (head, body, lanes, wanted) in [
        ("1218", offer, "", 0),
        ("121a", offer, "3004", 4),
        ("1a0b", answer, "", 0),
        ("1a0d", answer, "2804", 4),
    ] {
        let octets = octets(&format!("{head}{body}{lanes}").replace(' ', ""));
        let message = PeerMessage::decode(&octets[..]).expect("a message");
        assert_eq!(message.encode_to_vec(), octets);
        let (path, spi, lanes) = match message.message {
            Some(Peer::KeyOffer(offer)) => (offer.path_id, offer.spi, offer.lanes),
            Some(Peer::KeyAnswer(answer)) => (answer.path_id, answer.spi, answer.lanes),
            other => panic!("{other:?}"),
        };
        assert_eq!((path, spi, lanes), (7, 0x1234, wanted));
    }
}
