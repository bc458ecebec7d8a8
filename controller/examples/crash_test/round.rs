//! One life of the controller with writers at work, and the look at what is left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hawser_controller::init::{self, Setup};
use hawser_controller_core::audit::{Entry, Record, Verifier};
use hawser_proto::operator::v1::*;

use crate::client::{Access, Client, connect};
use crate::worker::{Death, Worker};

pub const WRITERS: u32 = 4;
/// A life at a failpoint that is not passed often enough ends so.
const LONGEST_LIFE: Duration = Duration::from_millis(1_500);
/// A token may ask 100 times a second.
const PAUSE: Duration = Duration::from_millis(200);
const DOCUMENT: &str = include_str!("../../tests/controller/fleet.yaml");

/// What was found over all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    pub at_random: u32,
    pub at_failpoints: u32,
    pub acknowledged: u64,
    pub lost: u64,
    pub regressions: u64,
    pub torn: u64,
    pub audit_breaks: u64,
    pub restored: u64,
    pub disk_rounds: u32,
    pub disk_acknowledged: u64,
    pub disk_errors: u64,
    pub disk_lost: u64,
}

impl Tally {
    pub fn is_clean(&self) -> bool {
        self.lost + self.regressions + self.torn + self.audit_breaks + self.disk_lost == 0
    }

    pub fn verdict(&self) -> String {
        format!(
            "lost {}, regressions {}, torn {}, audit breaks {}",
            self.lost, self.regressions, self.torn, self.audit_breaks
        )
    }
}

/// What the controller said is done.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Documents by revision.
    pub revisions: BTreeMap<u64, String>,
    pub tokens: Vec<String>,
    /// The highest number told of each edge.
    pub generations: BTreeMap<String, u64>,
}

pub type Shared = Arc<Mutex<Acknowledged>>;

pub struct Lab {
    dir: tempfile::TempDir,
    access: Access,
    /// Generations that were told in earlier rounds.
    generations: BTreeMap<String, u64>,
    round: u32,
}

impl Lab {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let access = initialise(&dir.path().join("data")).await;
        Self { dir, access, generations: BTreeMap::new(), round: 0 }
    }

    pub async fn round(&mut self, death: Death, tally: &mut Tally) {
        self.round += 1;
        let data = self.dir.path().join("data");
        let told = Shared::default();
        match death {
            Death::At { .. } => tally.at_failpoints += 1,
            _ => tally.at_random += 1,
        }
        if let Some(mut worker) = Worker::start(&data, death) {
            tally.restored += u64::from(worker.restored);
            let mut writers = Vec::new();
            for writer in 0..WRITERS {
                let (access, told) = (self.access.clone(), Arc::clone(&told));
                let marker = u64::from(self.round) * 100_000 + u64::from(writer) * 10_000;
                writers.push(tokio::spawn(write(access, worker.port, marker, told)));
            }
            match death {
                Death::After { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
                _ => {
                    let end = tokio::time::Instant::now() + LONGEST_LIFE;
                    while !worker.is_dead() && tokio::time::Instant::now() < end {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            worker.kill();
            for writer in writers {
                writer.await.expect("a writer ends");
            }
        }
        let told = std::mem::take(&mut *told.lock().expect("nobody panicked"));
        tally.acknowledged += (told.revisions.len() + told.tokens.len()) as u64;
        for (edge, number) in &told.generations {
            let known = self.generations.entry(edge.clone()).or_default();
            *known = (*known).max(*number);
        }
        let worker = Worker::start(&data, Death::Never).expect("it starts again");
        tally.restored += u64::from(worker.restored);
        let mut client = connect(&self.access, worker.port).await.expect("it answers");
        tally.lost += lost(&mut client, &told).await;
        tally.torn += torn(&mut client).await;
        tally.regressions += regressions(&mut client, &mut self.generations).await;
        tally.audit_breaks += u64::from(!audit_is_whole(&mut client).await);
        worker.kill();
    }
}

pub async fn initialise(data: &std::path::Path) -> Access {
    let advertised = vec!["127.0.0.1:4511".parse().expect("an address")];
    let setup = Setup { fleet: "acme".into(), advertised };
    let made = init::init(data, &setup).await.expect("init");
    let text = std::fs::read(&made.admin_context).expect("the access");
    serde_json::from_slice(&text).expect("its JSON")
}

/// Documents and tokens, one after the other, until the controller is gone.
pub async fn write(access: Access, port: u16, marker: u64, told: Shared) {
    let Some(mut client) = connect(&access, port).await else { return };
    for number in marker.. {
        let document = DOCUMENT.replace("cost: 21", &format!("cost: {}", number % 1_000_000));
        let asked = ApplyRequest {
            document: document.clone().into_bytes(),
            comment: format!("writer {number}"),
            ..Default::default()
        };
        match client.apply(asked).await {
            Ok(done) => {
                let done = done.into_inner();
                let mut told = told.lock().expect("nobody panicked");
                if !done.unchanged {
                    told.revisions.insert(done.revision, document);
                }
                for changed in done.changed {
                    let number = changed.id.map_or(0, |id| id.number);
                    let known = told.generations.entry(changed.edge).or_default();
                    *known = (*known).max(number);
                }
            }
            // Another writer was first.
            Err(status) if status.code() == tonic::Code::Aborted => {}
            Err(status) if is_limited(&status) => tokio::time::sleep(PAUSE).await,
            Err(_) => return,
        }
        let asked = CreateTokenRequest {
            kind: TokenKind::Enrolment.into(),
            edge: "b1-1".into(),
            comment: format!("writer {number}"),
            ..Default::default()
        };
        match client.create_token(asked).await {
            Ok(made) => told.lock().expect("nobody panicked").tokens.push(made.into_inner().id),
            Err(status) if is_limited(&status) => tokio::time::sleep(PAUSE).await,
            Err(_) => return,
        }
    }
}

fn is_limited(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::ResourceExhausted
}

/// A revision's document; none: it is not there.
async fn document(client: &mut Client, revision: u64) -> Option<Vec<u8>> {
    loop {
        match client.get_fleet(GetFleetRequest { revision }).await {
            Ok(found) => return Some(found.into_inner().document),
            Err(status) if is_limited(&status) => tokio::time::sleep(PAUSE).await,
            Err(_) => return None,
        }
    }
}

/// Acknowledged things that are not there as they were.
pub async fn lost(client: &mut Client, told: &Acknowledged) -> u64 {
    // What the writers have used up comes back meanwhile.
    tokio::time::sleep(PAUSE).await;
    let mut lost = 0;
    for (revision, document_of) in &told.revisions {
        let found = document(client, *revision).await;
        let same = found.is_some_and(|found| found == document_of.as_bytes());
        lost += u64::from(!same);
    }
    let tokens = loop {
        match client.list_tokens(ListTokensRequest {}).await {
            Ok(listed) => break listed.into_inner().tokens,
            Err(status) if is_limited(&status) => tokio::time::sleep(PAUSE).await,
            Err(status) => panic!("no tokens but {status}"),
        }
    };
    let known: std::collections::BTreeSet<String> = tokens.into_iter().map(|t| t.id).collect();
    lost + told.tokens.iter().filter(|id| !known.contains(*id)).count() as u64
}

/// Revisions without their whole document, or edges that stand at a revision which does not exist.
async fn torn(client: &mut Client) -> u64 {
    let listed =
        client.list_revisions(ListRevisionsRequest { page_size: 50, ..Default::default() });
    let revisions = listed.await.expect("revisions").into_inner().revisions;
    let mut torn = 0;
    for revision in &revisions {
        torn += u64::from(document(client, revision.revision).await.is_none());
    }
    // The newest document is what the edges are given: planning it again changes nothing.
    if let Some(newest) = revisions.first() {
        let asked = PlanRequest { revision: newest.revision, ..Default::default() };
        let plan = client.plan(asked).await;
        torn += u64::from(!plan.is_ok_and(|plan| plan.into_inner().unchanged));
    }
    torn
}

/// Edges whose number is below one that was told before.
async fn regressions(client: &mut Client, known: &mut BTreeMap<String, u64>) -> u64 {
    let sites =
        client.list_sites(ListSitesRequest::default()).await.expect("sites").into_inner().sites;
    let mut regressions = 0;
    for edge in sites.into_iter().flat_map(|site| site.edges) {
        let number = edge.desired.map_or(0, |id| id.number);
        let told = known.entry(edge.name).or_default();
        regressions += u64::from(number < *told);
        *told = (*told).max(number);
    }
    regressions
}

async fn audit_is_whole(client: &mut Client) -> bool {
    let mut verifier = Verifier::default();
    let mut after_sequence = 0;
    loop {
        let asked = ListAuditRequest { after_sequence, page_size: 1_000, newest: false };
        let page = client.list_audit(asked).await.expect("the log").into_inner();
        let Some(last) = page.entries.last() else {
            let head = (page.head_sequence, page.head_hash.as_str());
            return verifier.last().is_none_or(|last| last == head);
        };
        after_sequence = last.sequence;
        for told in page.entries {
            let entry = Entry {
                sequence: told.sequence,
                unix_ms: told.unix_ms,
                record: Record {
                    actor: told.actor,
                    action: told.action,
                    subject: told.subject,
                    detail: told.detail,
                },
                suppressed: told.suppressed,
                previous: told.previous,
                hash: told.hash,
            };
            if verifier.take(&entry).is_err() {
                return false;
            }
        }
    }
}
