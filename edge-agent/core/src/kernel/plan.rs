//! The steps from what the kernel holds to what it must hold.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{GreLink, KernelState, NextHop, Policy, Route, Rule, StateId};

/// One effect on the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    LoadScript(String),
    /// Adds it, or replaces the one of the same selector.
    SetPolicy(Policy),
    RemovePolicy(Policy),
    /// The same association at other ends; its sequence numbers go on.
    MoveState {
        id: StateId,
        from: (SocketAddr, SocketAddr),
        to: (SocketAddr, SocketAddr),
    },
    RemoveState {
        id: StateId,
        at: (SocketAddr, SocketAddr),
    },
    AddLink(GreLink),
    /// In place: routes over it stay.
    ChangeLink(GreLink),
    RemoveLink(u32),
    /// Adds or replaces.
    SetNextHop(u32, NextHop),
    RemoveNextHop(u32),
    /// Adds or replaces.
    SetRoute(Route),
    RemoveRoute(Route),
    AddRule(Rule),
    RemoveRule(Rule),
}

/// None if it is so already.
///
/// Policies stand before the interfaces that they guard, and go after them; what leads to something comes after it, and
/// goes before it. So no prefix of the steps opens a way out in clear, and each may be the last one that succeeds.
pub fn plan(want: &KernelState, seen: &KernelState) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(script) = want.script.as_ref().filter(|script| seen.script.as_ref() != Some(script))
    {
        steps.push(Step::LoadScript(script.clone()));
    }
    steps.extend(want.policies.difference(&seen.policies).cloned().map(Step::SetPolicy));
    move_states(&mut steps, want, seen);
    for (key, link) in &want.links {
        match seen.links.get(key) {
            None => steps.push(Step::AddLink(link.clone())),
            Some(old) if old != link => steps.push(Step::ChangeLink(link.clone())),
            Some(_) => {}
        }
    }
    let changed = want.next_hops.iter().filter(|(id, hop)| seen.next_hops.get(id) != Some(hop));
    let is_group = |hop: &NextHop| matches!(hop, NextHop::Group(_));
    for groups in [false, true] {
        let of_kind = changed.clone().filter(|(_, hop)| is_group(hop) == groups);
        steps.extend(of_kind.map(|(id, hop)| Step::SetNextHop(*id, hop.clone())));
    }
    steps.extend(want.routes.difference(&seen.routes).cloned().map(Step::SetRoute));
    steps.extend(want.rules.difference(&seen.rules).cloned().map(Step::AddRule));
    remove(&mut steps, want, seen);
    steps
}

fn move_states(steps: &mut Vec<Step>, want: &KernelState, seen: &KernelState) {
    for (id, to) in &want.states {
        if let Some(from) = seen.states.get(id).filter(|from| *from != to) {
            steps.push(Step::MoveState { id: *id, from: *from, to: *to });
        }
    }
}

fn remove(steps: &mut Vec<Step>, want: &KernelState, seen: &KernelState) {
    steps.extend(seen.rules.difference(&want.rules).cloned().map(Step::RemoveRule));
    let kept: BTreeSet<_> = want.routes.iter().map(|route| (route.table, route.prefix)).collect();
    // One of the same table and prefix has replaced the old one.
    let surplus = seen.routes.difference(&want.routes);
    let surplus = surplus.filter(|route| !kept.contains(&(route.table, route.prefix)));
    steps.extend(surplus.cloned().map(Step::RemoveRoute));
    let gone = seen.next_hops.iter().filter(|(id, _)| !want.next_hops.contains_key(id));
    let is_group = |hop: &NextHop| matches!(hop, NextHop::Group(_));
    for groups in [true, false] {
        let of_kind = gone.clone().filter(|(_, hop)| is_group(hop) == groups);
        steps.extend(of_kind.map(|(id, _)| Step::RemoveNextHop(*id)));
    }
    let gone = seen.links.keys().filter(|key| !want.links.contains_key(key));
    steps.extend(gone.map(|key| Step::RemoveLink(*key)));
    for (id, at) in seen.states.iter().filter(|(id, _)| !want.states.contains_key(id)) {
        steps.push(Step::RemoveState { id: *id, at: *at });
    }
    steps.extend(seen.policies.difference(&want.policies).cloned().map(Step::RemovePolicy));
}

impl KernelState {
    /// What the kernel holds after a step that succeeded.
    pub fn apply(&mut self, step: &Step) {
        match step.clone() {
            Step::LoadScript(script) => self.script = Some(script),
            Step::SetPolicy(policy) => drop(self.policies.insert(policy)),
            Step::RemovePolicy(policy) => drop(self.policies.remove(&policy)),
            Step::MoveState { id, to, .. } => drop(self.states.insert(id, to)),
            Step::RemoveState { id, .. } => drop(self.states.remove(&id)),
            Step::AddLink(link) | Step::ChangeLink(link) => drop(self.links.insert(link.key, link)),
            Step::RemoveLink(key) => drop(self.links.remove(&key)),
            Step::SetNextHop(id, hop) => drop(self.next_hops.insert(id, hop)),
            Step::RemoveNextHop(id) => drop(self.next_hops.remove(&id)),
            Step::SetRoute(route) => {
                let same = |r: &Route| r.table == route.table && r.prefix == route.prefix;
                self.routes.retain(|r| !same(r));
                self.routes.insert(route);
            }
            Step::RemoveRoute(route) => drop(self.routes.remove(&route)),
            Step::AddRule(rule) => drop(self.rules.insert(rule)),
            Step::RemoveRule(rule) => drop(self.rules.remove(&rule)),
        }
    }
}
