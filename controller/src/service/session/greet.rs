//! Whether the agent at the other end may have a session.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::{self as agent, AgentMessage, Refusal};

use super::{End, Peer, authority_retired, edge_unknown, refusal, revoked};
use crate::pki::EdgeIdentity;
use crate::service::Controller;

const PROTOCOL_MAJOR: u32 = 1;
/// An agent says Hello within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

impl Controller {
    /// Checks who is there before anything is done for them.
    pub(super) async fn greet<S, E>(
        &self,
        peer: &Peer,
        from_agent: &mut S,
    ) -> Result<agent::Hello, End>
    where
        S: Stream<Item = Result<AgentMessage, E>> + Unpin,
    {
        let EdgeIdentity { edge, .. } = &peer.identity;
        let actor = || format!("edge:{edge} at {}", peer.address.ip());
        if let Some(refusal) = self.judge_certificate(&peer.identity) {
            self.refused_hello(actor(), edge, &refusal).await;
            return Err(End::Refused(refusal));
        }
        let first = tokio::time::timeout(HELLO_WITHIN, from_agent.next()).await;
        let hello = match first {
            Ok(Some(Ok(AgentMessage { message: Some(FromAgent::Hello(hello)) }))) => hello,
            Ok(None | Some(Err(_))) => return Err(End::Gone),
            Ok(Some(Ok(_))) | Err(_) => {
                return Err(End::Refused(refusal(
                    "HELLO_EXPECTED",
                    "the first message was not Hello, or did not come in time",
                    "send Hello first",
                )));
            }
        };
        if let Some(refusal) = self.judge_hello(&hello, edge) {
            self.refused_hello(actor(), edge, &refusal).await;
            return Err(End::Refused(refusal));
        }
        Ok(hello)
    }

    fn judge_certificate(&self, identity: &EdgeIdentity) -> Option<Refusal> {
        if identity.fleet != self.settings.fleet {
            let message = format!("the certificate is of fleet {:?}", identity.fleet);
            return Some(refusal("FLEET_MISMATCH", message, "enrol the edge in this fleet"));
        }
        if !self.state().edges.contains_key(&identity.edge) {
            return Some(edge_unknown(&identity.edge));
        }
        if self.revocations().signed().contains(&identity.serial) {
            return Some(revoked());
        }
        // TLS has looked too; a connection or a session of it may be from before.
        if !self.pki.trusts(&identity.authority) {
            return Some(authority_retired());
        }
        // Without a record the store was restored from before the enrolment; the CA's word is
        // enough then.
        let another = self.index.with(&identity.edge, |live| {
            live.enrolment.as_ref().is_some_and(|record| !record.knows_key(&identity.key_sha256))
        });
        if another {
            return Some(refusal(
                "CERTIFICATE_SUPERSEDED",
                "the edge was enrolled again with another key",
                "enrol this device with a new token, if it is the right one",
            ));
        }
        None
    }

    fn judge_hello(&self, hello: &agent::Hello, edge: &str) -> Option<Refusal> {
        if hello.protocol_major != PROTOCOL_MAJOR {
            let message = format!("protocol {} is not spoken here", hello.protocol_major);
            let mend = "use an agent of a version near the controller's";
            return Some(refusal("PROTOCOL_UNSUPPORTED", message, mend));
        }
        if hello.fleet != self.settings.fleet {
            let message = format!("this controller is not of fleet {:?}", hello.fleet);
            let mend = "enrol the edge in this fleet";
            return Some(refusal("FLEET_MISMATCH", message, mend));
        }
        if hello.edge != edge {
            let message = format!("the certificate is not that of edge {:?}", hello.edge);
            let mend = "use the identity that this edge was enrolled with";
            return Some(refusal("EDGE_MISMATCH", message, mend));
        }
        None
    }

    async fn refused_hello(&self, actor: String, edge: &str, refusal: &Refusal) {
        let code = match refusal.code.as_str() {
            "FLEET_MISMATCH" => "FLEET_MISMATCH",
            "EDGE_MISMATCH" => "EDGE_MISMATCH",
            "EDGE_UNKNOWN" => "EDGE_UNKNOWN",
            "CERTIFICATE_SUPERSEDED" => "CERTIFICATE_SUPERSEDED",
            "CERTIFICATE_REVOKED" => "CERTIFICATE_REVOKED",
            "CA_RETIRED" => "CA_RETIRED",
            _ => "HELLO_REFUSED",
        };
        self.refused(actor, code, edge, format!("session: {}", refusal.message)).await;
    }
}
