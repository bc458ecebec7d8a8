//! One controller with all its agents, from the first connection to quiet minutes.

use std::time::{Duration, Instant};

use crate::agents::Agents;
use crate::compile;
use crate::operator::Operator;
use crate::process::Controller;
use crate::scrape::{Scrape, Scraper};
use crate::statistics::Runs;

/// Changes that concern everybody, and changes that concern one.
const PUSHES: usize = 5;
/// Telemetry flows undisturbed while the process is watched, so often for so long: a multiple of the time between scrapes.
const WATCHES: usize = 2;
const WATCHED: Duration = Duration::from_secs(45);
/// A push that is not everywhere by then has failed.
const PUSHED_WITHIN: Duration = Duration::from_secs(60);

/// What one or more rounds of the same kind came to.
#[derive(Debug, Default)]
pub struct Rounds {
    pub connect_all_s: Runs,
    pub push_all_ms: Runs,
    pub push_one_ms: Runs,
    pub rss_mib: Runs,
    pub cpu_cores: Runs,
    /// The same processes, metrics on, while nobody scrapes. Two processes that do the same differ by more than scrapes cost.
    pub cpu_cores_unscraped: Runs,
    pub points_per_s: Runs,
    pub scrapes: Vec<Scrape>,
    /// Generations that others got when one was pushed.
    pub others: u64,
    pub samples_dropped: u64,
    /// The fewest at the end of a round.
    pub connected: Option<u32>,
}

impl Rounds {
    /// One more. `metrics`: they are on, and scraped.
    pub async fn add(&mut self, count: usize, metrics: bool) -> Result<(), String> {
        let controller = Controller::start(metrics).await?;
        let mut operator = Operator::connect(&controller).await?;
        operator.apply(&compile::pairs(count, 0, 0)).await?;
        let identities = controller.identities(count)?;
        let scraper = controller.metrics().map(Scraper::start);

        let start = Instant::now();
        let mut agents = Agents::connect(&controller, identities).await?;
        self.connect_all_s.extend(vec![start.elapsed().as_secs_f64()]);
        operator.converged(count, PUSHED_WITHIN).await?;
        self.push(count, &mut operator, &mut agents).await?;

        for _ in 0..WATCHES {
            if let Some(scraper) = &scraper {
                scraper.pause(true);
                self.cpu_cores_unscraped.extend(vec![watch(&controller).await?]);
                scraper.pause(false);
            }
            let (points_before, start) = (agents.points_sent(), Instant::now());
            self.cpu_cores.extend(vec![watch(&controller).await?]);
            let points = (agents.points_sent() - points_before) as f64;
            self.points_per_s.extend(vec![points / start.elapsed().as_secs_f64()]);
            self.rss_mib.extend(vec![controller.usage()?.rss_mib]);
        }
        let status = operator.status().await?;
        self.samples_dropped += status.counters.get("samples_dropped").copied().unwrap_or(0);
        let connected = status.edges_connected;
        self.connected = Some(self.connected.map_or(connected, |least| least.min(connected)));
        self.scrapes.extend(scraper.iter().flat_map(Scraper::answers));
        Ok(())
    }

    async fn push(
        &mut self,
        count: usize,
        operator: &mut Operator,
        agents: &mut Agents,
    ) -> Result<(), String> {
        for n in 1..=PUSHES {
            let start = Instant::now();
            operator.apply(&compile::pairs(count, n, 0)).await?;
            self.push_all_ms.extend(agents.pushed(count, start, PUSHED_WITHIN).await?);
        }
        for n in 1..=PUSHES {
            let start = Instant::now();
            operator.apply(&compile::pairs(count, PUSHES, n)).await?;
            self.push_one_ms.extend(agents.pushed(1, start, PUSHED_WITHIN).await?);
            self.others += agents.pushed_besides(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}

/// What of a processor it takes.
async fn watch(controller: &Controller) -> Result<f64, String> {
    let (before, start) = (controller.usage()?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    Ok((controller.usage()?.cpu_s - before.cpu_s) / start.elapsed().as_secs_f64())
}
