//! Traffic classes and the SLA classes that they name.

use std::collections::BTreeMap;

use hawser_proto::config::v1 as wire;

use super::{Decoder, MEND_CONTROLLER};
use crate::config::{BalanceBy, ClassMode, Match, Sensitivity, SlaLimits, TrafficClass};
use crate::id::{ClassId, SegmentId};

impl Decoder {
    pub(super) fn traffic_classes(
        &mut self,
        config: &wire::EdgeConfig,
        segments: &BTreeMap<SegmentId, String>,
        sla_classes: &BTreeMap<String, SlaLimits>,
    ) -> Vec<TrafficClass> {
        let mut classes = Vec::new();
        for (i, class) in config.traffic_classes.iter().enumerate() {
            let path = format!("traffic_classes[{i}]");
            if !class.sla_class.is_empty() && !sla_classes.contains_key(&class.sla_class) {
                let message = format!("there is no SLA class “{}”", class.sla_class);
                self.fault("BAD_REFERENCE", format!("{path}.sla_class"), message, MEND_CONTROLLER);
            }
            let segment = (class.segment_id != 0)
                .then(|| self.segment(class.segment_id, segments, &format!("{path}.segment_id")));
            let matches = class
                .matches
                .iter()
                .enumerate()
                .map(|(m, rule)| self.rule(rule, &format!("{path}.matches[{m}]")))
                .collect();
            let wan_dscp = class.wan_dscp.map(|dscp| u8::try_from(dscp).unwrap_or(u8::MAX));
            if wan_dscp.is_some_and(|dscp| dscp > 63) {
                let at = format!("traffic_classes[{i}].wan_dscp");
                self.fault("OUT_OF_RANGE", at, "a DSCP is 0 to 63", MEND_CONTROLLER);
            }
            classes.push(TrafficClass {
                id: ClassId(class.id),
                name: class.name.clone(),
                segment,
                matches,
                sla_class: class.sla_class.clone(),
                drop_when_none_meets: class.when_none_meets() == wire::WhenNoneMeets::Drop,
                prefer_uplinks: class.prefer_uplinks.clone(),
                failback_hold_ms: class.failback_hold_ms,
                dwell_ms: class.dwell_ms,
                symmetric: class.symmetric,
                mode: mode(class),
                wan_dscp,
            });
        }
        if classes.last().is_none_or(|c| !c.matches.is_empty()) {
            self.fault(
                "NO_DEFAULT_CLASS",
                "traffic_classes",
                "the last class must match everything",
                MEND_CONTROLLER,
            );
        }
        classes
    }

    fn rule(&mut self, rule: &wire::Match, path: &str) -> Match {
        Match {
            sources: self.nets(&rule.source_prefixes, &format!("{path}.source_prefixes")),
            destinations: self
                .nets(&rule.destination_prefixes, &format!("{path}.destination_prefixes")),
            protocols: rule.protocols.iter().map(|&p| self.small(p, path)).collect(),
            source_ports: self.ports(&rule.source_ports, path),
            destination_ports: self.ports(&rule.destination_ports, path),
            dscps: rule.dscps.iter().map(|&d| self.small(d, path)).collect(),
        }
    }

    fn ports(&mut self, ranges: &[wire::PortRange], path: &str) -> Vec<(u16, u16)> {
        ranges.iter().map(|r| (self.small(r.first, path), self.small(r.last, path))).collect()
    }
}

pub(super) fn sla_classes(config: &wire::EdgeConfig) -> BTreeMap<String, SlaLimits> {
    let limits = |c: &wire::SlaClass| SlaLimits {
        max_rtt_us: c.max_rtt_us,
        max_jitter_us: c.max_jitter_us,
        max_loss_ppm: c.max_loss_ppm,
        sensitivity: Sensitivity {
            loss_confidence_ppm: c.loss_confidence_ppm,
            loss_mended_ms: c.loss_mended_ms,
            delay_damage_ms: c.delay_damage_ms,
            delay_mended_ms: c.delay_mended_ms,
        },
    };
    config.sla_classes.iter().map(|c| (c.name.clone(), limits(c))).collect()
}

fn mode(class: &wire::TrafficClass) -> ClassMode {
    let by = match class.balance_by() {
        wire::BalanceBy::Unspecified | wire::BalanceBy::Bandwidth => BalanceBy::Bandwidth,
        wire::BalanceBy::Cost => BalanceBy::Cost,
    };
    match class.mode() {
        wire::ClassMode::Unspecified | wire::ClassMode::Best => ClassMode::Best,
        wire::ClassMode::Balance => ClassMode::Balance(by),
        wire::ClassMode::Duplicate => ClassMode::Duplicate,
    }
}
