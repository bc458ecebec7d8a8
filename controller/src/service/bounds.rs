//! Limits on what an authenticated agent may make the controller keep.

use hawser_controller_core::capability::Features;
use hawser_proto::agent::v1::{
    AgentEvent, Candidate, Decision, Explanation, Fault, IkeSample, PathSample, UplinkFact,
};

/// Longest text kept of an agent, in bytes.
const MAX_TEXT_BYTES: usize = 256;
const MAX_SUMMARY_BYTES: usize = 1_024;
const MAX_CANDIDATES: usize = 64;
const MAX_LIST: usize = 32;
const MAX_FAULTS: usize = 64;
const MAX_HELD: usize = 64;
/// Agents probe no more of one tunnel.
const MAX_IKE_LINKS: usize = 16;
pub const MAX_UPLINKS: usize = 64;
pub const MAX_PATHS_PER_SAMPLE: usize = 8_192;
pub const MAX_COUNTERS: usize = 256;
pub const MAX_EXPLANATIONS_PER_SAMPLE: usize = 1_024;
pub const MAX_CURSOR_BYTES: usize = 64;
pub const MAX_EVENTS_PER_MESSAGE: usize = 256;
pub const MAX_DECISIONS_PER_MESSAGE: usize = 1_024;
pub const MAX_REFUSED: usize = 64;
const MAX_FEATURES: usize = 128;
const MAX_FEATURE_BYTES: usize = 64;

pub fn text(text: &mut String) {
    cut(text, MAX_TEXT_BYTES);
}

/// What an agent says that it can do: a short list of short words.
pub fn features(told: Vec<String>) -> Features {
    told.into_iter().filter(|f| f.len() <= MAX_FEATURE_BYTES).take(MAX_FEATURES).collect()
}

pub fn decision(decision: &mut Decision) {
    cut(&mut decision.summary, MAX_SUMMARY_BYTES);
    for field in [
        &mut decision.peer_edge,
        &mut decision.traffic_class,
        &mut decision.cause,
        &mut decision.boot_id,
        &mut decision.from_next_hop,
        &mut decision.to_next_hop,
        &mut decision.advice_id,
        &mut decision.trace_id,
    ] {
        text(field);
    }
    texts(&mut decision.prefixes);
    candidates(&mut decision.candidates);
}

pub fn explanation(explanation: &mut Explanation) {
    cut(&mut explanation.summary, MAX_SUMMARY_BYTES);
    for field in [
        &mut explanation.peer_edge,
        &mut explanation.traffic_class,
        &mut explanation.path_name,
        &mut explanation.cause,
    ] {
        text(field);
    }
    explanation.held.truncate(MAX_HELD);
    for held in &mut explanation.held {
        text(&mut held.name);
        text(&mut held.because);
    }
    candidates(&mut explanation.candidates);
}

fn candidates(list: &mut Vec<Candidate>) {
    list.truncate(MAX_CANDIDATES);
    for candidate in list {
        text(&mut candidate.refused_because);
        text(&mut candidate.name);
        text(&mut candidate.next_hop);
        texts(&mut candidate.limits_crossed);
    }
}

pub fn sample(sample: &mut PathSample) {
    texts(&mut sample.selected_for);
    text(&mut sample.remote_endpoint);
    sample.verdicts.truncate(MAX_LIST);
    for verdict in &mut sample.verdicts {
        text(&mut verdict.sla_class);
        text(&mut verdict.reason);
    }
}

pub fn ike(sample: &mut IkeSample) {
    let addresses = [&mut sample.local_address, &mut sample.remote_address];
    addresses.into_iter().for_each(text);
    text(&mut sample.reason);
    sample.links.truncate(MAX_IKE_LINKS);
    for link in &mut sample.links {
        let words = [&mut link.uplink, &mut link.local_address, &mut link.remote_address];
        words.into_iter().for_each(text);
        text(&mut link.refused_because);
        texts(&mut link.limits_crossed);
    }
}

pub fn uplink(fact: &mut UplinkFact) {
    text(&mut fact.interface);
    texts(&mut fact.addresses);
    texts(&mut fact.public_endpoints);
}

pub fn faults(faults: &mut Vec<Fault>) {
    faults.truncate(MAX_FAULTS);
    for fault in faults {
        text(&mut fault.code);
        text(&mut fault.path);
        cut(&mut fault.message, MAX_SUMMARY_BYTES);
        cut(&mut fault.mend, MAX_SUMMARY_BYTES);
    }
}

/// False: its code is not one.
pub fn agent_event(event: &mut AgentEvent) -> bool {
    text(&mut event.subject);
    cut(&mut event.message, MAX_SUMMARY_BYTES);
    let word = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&event.code.len()) && event.code.bytes().all(word)
}

fn texts(list: &mut Vec<String>) {
    list.truncate(MAX_LIST);
    list.iter_mut().for_each(text);
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = text.floor_char_boundary(most);
        text.truncate(end);
    }
}
