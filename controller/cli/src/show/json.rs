//! Answers as JSON for programs. Names of fields never change their meaning; new ones may come.

use hawser_proto::agent::v1::{
    Candidate, Decision, Explanation, Fault, HeldPath, PathSample, UplinkFact,
};
use hawser_proto::config::v1::GenerationId;
use hawser_proto::operator::v1::{
    Account, AdviceInForce, ApplyResponse, AuditEntry, Blink, CreateTokenResponse, Drain,
    EdgeGeneration, EdgePlan, EdgeStatus, Event, ExplainResponse, Finding, GetFleetResponse,
    GetStatusResponse, IkeTunnel, ListAdviceResponse, Path, PathEnd, PlanResponse, PlannedChange,
    Revision, Rollout, RolloutEdge, SetDrainResponse, Site, SitePlan, TokenInfo, Trouble,
};
use serde_json::{Value, json};

use super::ike::ike_tunnel_json;
use super::lists::{convergence_word, kind, token_state};
use super::paths::{family, state};

pub fn fault(fault: &Fault) -> Value {
    json!({
        "code": fault.code,
        "path": fault.path,
        "message": fault.message,
        "mend": fault.mend,
    })
}

pub fn valid() -> Value {
    json!({"valid": true, "faults": []})
}

pub fn applied(response: &ApplyResponse) -> Value {
    let changed = response.changed.iter().map(
        |changed| json!({"edge": changed.edge, "generation": generation(changed.id.as_ref())}),
    );
    json!({
        "revision": response.revision,
        "unchanged": response.unchanged,
        "changed": changed.collect::<Vec<_>>(),
        "staged": response.rollout.is_some(),
    })
}

pub fn fleet(response: &GetFleetResponse) -> Value {
    json!({
        "revision": response.revision,
        "committed_unix_ms": response.committed_unix_ms,
        "committed_by": response.committed_by,
        "comment": response.comment,
        "document": String::from_utf8_lossy(&response.document),
    })
}

pub fn status(status: &GetStatusResponse) -> Value {
    json!({
        "fleet": status.fleet,
        "controller_version": status.controller_version,
        "revision": status.revision,
        "sites": status.sites,
        "edges": status.edges,
        "edges_connected": status.edges_connected,
        "edges_converged": status.edges_converged,
        "paths": status.paths,
        "paths_up": status.paths_up,
        "uptime_s": status.uptime_s,
        "counters": status.counters,
    })
}

fn generation(id: Option<&GenerationId>) -> Value {
    id.map_or(Value::Null, |id| json!({"epoch": id.epoch, "number": id.number}))
}

pub fn sites(sites: &[Site]) -> Value {
    let site = |site: &Site| {
        json!({
            "name": site.name,
            "role": site.role,
            "edges": site.edges.iter().map(edge).collect::<Vec<_>>(),
        })
    };
    json!({"sites": sites.iter().map(site).collect::<Vec<_>>()})
}

fn edge(edge: &EdgeStatus) -> Value {
    let generations = edge.generations.as_ref();
    json!({
        "name": edge.name,
        "edge_id": edge.edge_id,
        "enrolled": edge.enrolled,
        "connected": edge.connected,
        "last_seen_unix_ms": edge.last_seen_unix_ms,
        "agent_version": edge.agent_version,
        "state": convergence_word(edge),
        "desired": generation(edge.desired.as_ref()),
        "applied": generation(generations.and_then(|state| state.applied.as_ref())),
        "confirmed": generation(generations.and_then(|state| state.confirmed.as_ref())),
        "last_nack": edge.last_nack.iter().map(fault).collect::<Vec<_>>(),
        "uplinks": edge.uplinks.iter().map(uplink).collect::<Vec<_>>(),
        "paths": edge.paths,
        "paths_up": edge.paths_up,
        "certificate_ends_unix_s": edge.certificate_ends_unix_s,
        "revoked": edge.revoked,
    })
}

fn uplink(uplink: &UplinkFact) -> Value {
    json!({
        "uplink_id": uplink.uplink_id,
        "interface": uplink.interface,
        "carrier": uplink.carrier,
        "addresses": uplink.addresses,
        "public_endpoints": uplink.public_endpoints,
        "mtu_bytes": uplink.mtu_bytes,
    })
}

pub fn paths(paths: &[Path], tunnels: &[IkeTunnel]) -> Value {
    let path = |path: &Path| {
        json!({
            "id": path.id,
            "tunnel_id": path.tunnel_id,
            "family": family(path),
            "state": state(path.state()).0,
            "a": path.a.as_ref().map(end),
            "b": path.b.as_ref().map(end),
        })
    };
    json!({
        "paths": paths.iter().map(path).collect::<Vec<_>>(),
        "ike_tunnels": tunnels.iter().map(ike_tunnel_json).collect::<Vec<_>>(),
    })
}

fn end(end: &PathEnd) -> Value {
    json!({
        "site": end.site,
        "edge": end.edge,
        "uplink": end.uplink,
        "sample_unix_ms": end.sample_unix_ms,
        "sample": end.sample.as_ref().map(sample),
    })
}

fn sample(sample: &PathSample) -> Value {
    let verdict = |verdict: &hawser_proto::agent::v1::ClassVerdict| {
        json!({
            "sla_class": verdict.sla_class,
            "meets": verdict.meets,
            "reason": verdict.reason,
        })
    };
    json!({
        "state": state(sample.state()).0,
        "rtt_us": sample.rtt_us,
        "jitter_us": sample.jitter_us,
        "loss_tx_ppm": sample.loss_tx_ppm,
        "loss_rx_ppm": sample.loss_rx_ppm,
        "tx_packets": sample.tx_packets,
        "tx_bytes": sample.tx_bytes,
        "rx_packets": sample.rx_packets,
        "rx_bytes": sample.rx_bytes,
        "selected_for": sample.selected_for,
        "verdicts": sample.verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "rekeys": sample.rekeys,
        "inner_mtu_bytes": sample.inner_mtu_bytes,
        "remote_endpoint": sample.remote_endpoint,
    })
}

/// Of now, or of a moment in the past; `decisions` newest first.
pub fn why(site: &str, at_unix_ms: u64, state: &ExplainResponse, decisions: &[Decision]) -> Value {
    json!({
        "site": site,
        "at_unix_ms": at_unix_ms,
        "remembered_since_unix_ms": state.remembered_since_unix_ms,
        "accounts": state.accounts.iter().map(account).collect::<Vec<_>>(),
        "left_out": state.left_out,
        "next_hops": state.next_hops.iter().map(decision).collect::<Vec<_>>(),
        "decisions": decisions.iter().map(decision).collect::<Vec<_>>(),
    })
}

fn account(account: &Account) -> Value {
    json!({
        "edge": account.edge,
        "peer_edge": account.peer_edge,
        "peer_site": account.peer_site,
        "tunnel_id": account.tunnel_id,
        "traffic_class": account.traffic_class,
        "in_force": account.in_force.as_ref().map(decision),
        "next": account.next.as_ref().map(decision),
        "explanation": account.explanation.as_ref().map(explanation),
    })
}

fn explanation(told: &Explanation) -> Value {
    let held = |held: &HeldPath| {
        json!({
            "path_id": held.path_id,
            "name": held.name,
            "remaining_ms": held.remaining_ms,
            "because": held.because,
        })
    };
    json!({
        "unix_ms": told.unix_ms,
        "path_id": path_id(told.path_id),
        "path_name": told.path_name,
        "meets_sla": told.meets_sla,
        "since_unix_ms": told.since_unix_ms,
        "cause": told.cause,
        "summary": told.summary,
        "held": told.held.iter().map(held).collect::<Vec<_>>(),
        "tokens_left": told.tokens_left,
        "next_token_in_ms": told.next_token_in_ms,
        "dwell_left_ms": told.dwell_left_ms,
        "candidates": told.candidates.iter().map(candidate).collect::<Vec<_>>(),
    })
}

pub fn advice(answer: &ListAdviceResponse) -> Value {
    let trouble = |trouble: &Trouble| {
        json!({
            "id": trouble.id,
            "subject": trouble.subject,
            "since_unix_ms": trouble.since_unix_ms,
            "seen_by": trouble.seen_by,
            "of": trouble.of,
            "advised": trouble.advised,
            "ending": trouble.ending,
        })
    };
    let given = |given: &AdviceInForce| {
        json!({
            "site": given.site,
            "edge": given.edge,
            "id": given.id,
            "reason": given.reason,
            "since_unix_ms": given.since_unix_ms,
            "until_unix_ms": given.until_unix_ms,
            "avoid_path_ids": given.avoid_path_ids,
            "avoid_edges": given.avoid_edges,
        })
    };
    json!({
        "mode": answer.mode,
        "troubles": answer.troubles.iter().map(trouble).collect::<Vec<_>>(),
        "advice": answer.advice.iter().map(given).collect::<Vec<_>>(),
        "counters": answer.counters,
    })
}

fn decision(decision: &Decision) -> Value {
    json!({
        "sequence": decision.sequence,
        "unix_ms": decision.unix_ms,
        "edge": decision.edge,
        "peer_edge": decision.peer_edge,
        "tunnel_id": decision.tunnel_id,
        "traffic_class": decision.traffic_class,
        "from_path_id": path_id(decision.from_path_id),
        "to_path_id": path_id(decision.to_path_id),
        "cause": decision.cause,
        "summary": decision.summary,
        "boot_id": decision.boot_id,
        "advice_id": decision.advice_id,
        "trace_id": decision.trace_id,
        "segment_id": decision.segment_id,
        "prefixes": decision.prefixes,
        "from_next_hop": decision.from_next_hop,
        "to_next_hop": decision.to_next_hop,
        "candidates": decision.candidates.iter().map(candidate).collect::<Vec<_>>(),
    })
}

/// On the wire 0 is none.
fn path_id(id: u32) -> Option<u32> {
    (id != 0).then_some(id)
}

fn candidate(candidate: &Candidate) -> Value {
    json!({
        "path_id": candidate.path_id,
        "next_hop": candidate.next_hop,
        "name": candidate.name,
        "state": state(candidate.state()).0,
        "chosen": candidate.chosen,
        "refused_because": candidate.refused_because,
        "rtt_us": candidate.rtt_us,
        "jitter_us": candidate.jitter_us,
        "loss_tx_ppm": candidate.loss_tx_ppm,
        "loss_rx_ppm": candidate.loss_rx_ppm,
        "limits_crossed": candidate.limits_crossed,
        "next_hop": candidate.next_hop,
        "confidence_ppm": candidate.confidence_ppm,
    })
}

pub fn events(events: &[Event]) -> Value {
    json!({"events": events.iter().map(event).collect::<Vec<_>>()})
}

pub fn event(event: &Event) -> Value {
    json!({
        "sequence": event.sequence,
        "unix_ms": event.unix_ms,
        "code": event.code,
        "site": event.site,
        "edge": event.edge,
        "message": event.message,
        "decision": event.decision.as_ref().map(decision),
        "dropped_before": event.dropped_before,
    })
}

pub fn token_created(created: &CreateTokenResponse, edge: Option<&str>) -> Value {
    json!({
        "id": created.id,
        "token": created.token,
        "expires_unix_ms": created.expires_unix_ms,
        "edge": edge,
    })
}

pub fn tokens(tokens: &[TokenInfo], now_unix_ms: u64) -> Value {
    let token = |token: &TokenInfo| {
        json!({
            "id": token.id,
            "kind": kind(token),
            "edge": token.edge,
            "role": token.role,
            "created_unix_ms": token.created_unix_ms,
            "expires_unix_ms": token.expires_unix_ms,
            "state": token_state(token, now_unix_ms),
            "fleet": token.fleet,
            "last_used_unix_ms": token.last_used_unix_ms,
            "last_used_from": token.last_used_from,
            "comment": token.comment,
        })
    };
    json!({"tokens": tokens.iter().map(token).collect::<Vec<_>>()})
}

pub fn token_revoked(id: &str) -> Value {
    json!({"id": id, "revoked": true})
}

fn edge_generations(changed: &[EdgeGeneration]) -> Vec<Value> {
    let one = |c: &EdgeGeneration| json!({"edge": c.edge, "generation": generation(c.id.as_ref())});
    changed.iter().map(one).collect()
}

pub fn plan(plan: &PlanResponse) -> Value {
    let change =
        |c: &PlannedChange| json!({"action": c.action, "what": c.what, "detail": c.detail});
    let edge = |e: &EdgePlan| {
        let changes: Vec<Value> = e.changes.iter().map(change).collect();
        json!({"edge": e.edge, "action": e.action, "changes": changes})
    };
    let site = |s: &SitePlan| {
        let edges: Vec<Value> = s.edges.iter().map(edge).collect();
        json!({"site": s.site, "action": s.action, "edges": edges})
    };
    let blink = |b: &Blink| {
        json!({
            "path_id": b.path_id,
            "name": b.name,
            "why": b.why,
            "about_ms": b.about_ms,
            "stops_traffic": b.stops_traffic,
        })
    };
    let finding = |f: &Finding| json!({"code": f.code, "subject": f.subject, "message": f.message, "mend": f.mend});
    json!({
        "base_revision": plan.base_revision,
        "unchanged": plan.unchanged,
        "sites": plan.sites.iter().map(site).collect::<Vec<_>>(),
        "blinks": plan.blinks.iter().map(blink).collect::<Vec<_>>(),
        "findings": plan.findings.iter().map(finding).collect::<Vec<_>>(),
        "document_sha256": plan.document_sha256,
    })
}

pub fn history(revisions: &[Revision]) -> Value {
    let one = |r: &Revision| {
        json!({
            "revision": r.revision,
            "committed_unix_ms": r.committed_unix_ms,
            "committed_by": r.committed_by,
            "comment": r.comment,
            "document_sha256": r.document_sha256,
            "current": r.current,
        })
    };
    json!({"revisions": revisions.iter().map(one).collect::<Vec<_>>()})
}

pub fn diff(old: &GetFleetResponse, new: &GetFleetResponse, changes: &PlanResponse) -> Value {
    json!({
        "from": old.revision,
        "to": new.revision,
        "document": super::plan::unified(old, new),
        "plan": plan(changes),
    })
}

pub fn rollout(rollout: &Rollout) -> Value {
    let edge =
        |e: &RolloutEdge| json!({"site": e.site, "edge": e.edge, "wave": e.wave, "state": e.state});
    json!({
        "revision": rollout.revision,
        "from_revision": rollout.from_revision,
        "phase": rollout.phase,
        "wave": rollout.wave,
        "waves": rollout.waves,
        "reason": rollout.reason,
        "until_unix_ms": rollout.until_unix_ms,
        "edges": rollout.edges.iter().map(edge).collect::<Vec<_>>(),
    })
}

pub fn drains(drains: &[Drain]) -> Value {
    let one = |d: &Drain| {
        json!({
            "target": d.target,
            "since_unix_ms": d.since_unix_ms,
            "by": d.by,
            "comment": d.comment,
        })
    };
    json!({"drains": drains.iter().map(one).collect::<Vec<_>>()})
}

pub fn drain(target: &str, drained: bool, response: &SetDrainResponse) -> Value {
    json!({
        "target": target,
        "drained": drained,
        "unchanged": response.unchanged,
        "changed": edge_generations(&response.changed),
    })
}

pub fn audit(entries: &[AuditEntry]) -> Value {
    let one = |e: &AuditEntry| {
        json!({
            "sequence": e.sequence,
            "unix_ms": e.unix_ms,
            "actor": e.actor,
            "action": e.action,
            "subject": e.subject,
            "detail": e.detail,
            "suppressed": e.suppressed,
            "previous": e.previous,
            "hash": e.hash,
        })
    };
    json!({"entries": entries.iter().map(one).collect::<Vec<_>>()})
}

pub fn audit_whole(checked: u64, first: u64, last: u64, hash: &str) -> Value {
    json!({"whole": true, "checked": checked, "first": first, "last": last, "hash": hash})
}
