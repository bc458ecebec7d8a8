//! The fleets of a data folder, opened and not yet served: its own, and those beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::init::{self, InitError, MAX_FLEETS_BESIDE};
use crate::pki::Pki;
use crate::server::{Options, RunError};
use crate::service::{Controller, Settings};
use crate::store::{OpenReport, Store};

/// One of them.
pub struct Opened {
    /// The data folder's own.
    pub is_first: bool,
    pub report: OpenReport,
    pub controller: Arc<Controller>,
    pub store: Arc<dyn Store>,
    pub data: PathBuf,
}

/// What the data folder holds.
pub struct Found {
    /// Never empty.
    pub opened: Vec<Opened>,
    /// Names of those that can't be served.
    pub left_out: Vec<String>,
}

/// Opens all. One that can't be opened is left out, with its reason in the log; the only one's reason is the error.
pub async fn open_all(options: &Options) -> Result<Found, RunError> {
    let beside = init::fleets_beside(&options.data)?;
    let (mut opened, mut left_out) = (Vec::new(), Vec::new());
    match open(options, &options.data, None).await {
        Ok(first) => opened.push(first),
        Err(error) if beside.is_empty() => return Err(error),
        Err(error) => {
            report_left_out("(the first)", &error);
            left_out.extend(init::read_setup(&options.data).map(|setup| setup.fleet));
        }
    }
    for (at, (name, data)) in beside.into_iter().enumerate() {
        let taken = opened.iter().any(|fleet: &Opened| fleet.controller.fleet_name() == name);
        let fleet = if taken {
            Err(InitError::FleetThere(name.clone()).into())
        } else if at >= MAX_FLEETS_BESIDE {
            Err(InitError::TooManyFleets.into())
        } else {
            open(options, &data, Some(&name)).await
        };
        match fleet {
            Ok(fleet) => opened.push(fleet),
            Err(error) => {
                report_left_out(&name, &error);
                // Of two folders of one name the other is served.
                left_out.extend(Some(name).filter(|_| !taken));
            }
        }
    }
    if opened.is_empty() {
        return Err(RunError::NoFleet(options.data.clone()));
    }
    Ok(Found { opened, left_out })
}

fn report_left_out(fleet: &str, error: &RunError) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::error!(fleet, %error, cause, "a fleet is not served");
}

/// `named`: the folder's name, which must be the fleet's; none: it is the data folder itself.
async fn open(options: &Options, data: &Path, named: Option<&str>) -> Result<Opened, RunError> {
    let setup = init::read_setup(data)?;
    if named.is_some_and(|name| name != setup.fleet) {
        let folder = data.to_owned();
        return Err(InitError::OtherFolder { fleet: setup.fleet, folder }.into());
    }
    let pki = Pki::load(data, &setup.fleet, &setup.advertised)?;
    let pki = Arc::new(pki.with_edge_lifetime(options.edge_lifetime));
    let (store, report) = options.store.open(data, &setup.fleet, true).await?;
    let settings = Settings {
        fleet: setup.fleet,
        controllers: setup.advertised.iter().map(ToString::to_string).collect(),
        telemetry_interval: options.telemetry_interval,
        advice: options.advice,
    };
    let controller = Controller::open(settings, Arc::clone(&store), pki).await?;
    controller.load_trends(data);
    let is_first = named.is_none();
    Ok(Opened { is_first, report, controller, store, data: data.to_owned() })
}
