//! Making a new controller's data folder, and reading what it says.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{self, Access, FileError};
use crate::pki::{self, Advertised, AdvertisedError, PkiError};
use crate::service::create_first_admin;
use crate::store::{OpenReport, StoreChoice, StoreError};

const SETUP_FILE: &str = "controller.json";
const CONTEXT_FILE: &str = "admin-context.json";
const FORMAT: u32 = 1;
const FLEETS_DIR: &str = "fleets";
/// Each has its own store, CA and timers.
pub const MAX_FLEETS_BESIDE: usize = 63;
const MAX_SETUP_BYTES: u64 = 64 * 1024;

/// What `init` fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub fleet: String,
    pub advertised: Vec<Advertised>,
}

#[derive(Serialize, Deserialize)]
struct SetupFile {
    format: u32,
    fleet: String,
    advertise: Vec<String>,
}

/// What a command line needs to reach the controller as its admin.
#[derive(Serialize)]
struct AdminContext {
    controller: String,
    /// Only of fleets beside the first: it is asked for by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<String>,
    ca_pem: String,
    token: String,
}

/// Files that [`init`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub admin_context: PathBuf,
    pub root_key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{0} is not empty; init never overwrites")]
    NotEmpty(PathBuf),
    #[error(
        "{0} holds no controller yet; make one: hawser-controller init --data {0} --fleet NAME \
         --advertise HOST:PORT"
    )]
    NotInitialised(PathBuf),
    #[error("{0:?} is no name for a fleet: 1 to 63 of a-z, 0-9 and -, not - at either end")]
    FleetName(String),
    #[error("there is a fleet {0:?} already")]
    FleetThere(String),
    #[error("no more than {MAX_FLEETS_BESIDE} fleets beside the first")]
    TooManyFleets,
    #[error("{folder} holds the fleet {fleet:?}: its name and its folder's must be the same")]
    OtherFolder { fleet: String, folder: PathBuf },
    #[error("no address to advertise: agents and operators need at least one HOST:PORT")]
    NothingAdvertised,
    #[error("{path} is not what init wrote")]
    Setup { path: PathBuf },
    #[error(transparent)]
    Advertised(#[from] AdvertisedError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the CA, the store in the folder and the first admin token. An unfinished one is no controller: remove
/// the folder.
pub async fn init(data: &Path, setup: &Setup) -> Result<Made, InitError> {
    init_in(data, setup, &StoreChoice::Sled).await
}

/// The same with a store of one's choice.
pub async fn init_in(data: &Path, setup: &Setup, choice: &StoreChoice) -> Result<Made, InitError> {
    make(data, setup, None, choice).await
}

/// Makes another fleet beside the first one of `data`, with which it shares nothing. A controller that runs serves it from its next start. Without
/// addresses it has the first one's.
pub async fn add_fleet(
    data: &Path,
    fleet: &str,
    advertised: Vec<Advertised>,
    choice: &StoreChoice,
) -> Result<Made, InitError> {
    let first = read_setup(data)?;
    let folder = data.join(FLEETS_DIR);
    let beside = fleets_beside(data)?;
    if first.fleet == fleet || beside.iter().any(|(name, _)| name == fleet) {
        return Err(InitError::FleetThere(fleet.to_owned()));
    }
    if beside.len() >= MAX_FLEETS_BESIDE {
        return Err(InitError::TooManyFleets);
    }
    let advertised = if advertised.is_empty() { first.advertised } else { advertised };
    let setup = Setup { fleet: fleet.to_owned(), advertised };
    check_name(fleet)?;
    files::create_private_dir(&folder)?;
    make(&folder.join(fleet), &setup, Some(fleet.to_owned()), choice).await
}

/// Names and folders of the fleets beside the first, sorted; what init has not finished is none.
pub fn fleets_beside(data: &Path) -> Result<Vec<(String, PathBuf)>, InitError> {
    let folder = data.join(FLEETS_DIR);
    let failed = |source| FileError { doing: "listing", path: folder.clone(), source };
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        if let Some(name) = name
            && path.join(SETUP_FILE).exists()
        {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

fn check_name(fleet: &str) -> Result<(), InitError> {
    let lower = fleet.bytes().all(|b| !b.is_ascii_uppercase());
    if lower && pki::is_label(fleet) { Ok(()) } else { Err(InitError::FleetName(fleet.to_owned())) }
}

async fn make(
    data: &Path,
    setup: &Setup,
    named: Option<String>,
    choice: &StoreChoice,
) -> Result<Made, InitError> {
    check_name(&setup.fleet)?;
    let first = setup.advertised.first().ok_or(InitError::NothingAdvertised)?;
    files::create_private_dir(data)?;
    let mut entries = std::fs::read_dir(data).map_err(|source| FileError {
        doing: "listing",
        path: data.to_owned(),
        source,
    })?;
    if entries.next().is_some() {
        return Err(InitError::NotEmpty(data.to_owned()));
    }
    let (store, report) = choice.open(data, &setup.fleet, false).await?;
    if report != OpenReport::Created {
        store.close().await;
        return Err(StoreError::NotEmpty.into());
    }
    let made = pki::create(data, &setup.fleet, &setup.advertised)?;
    let token = create_first_admin(store.as_ref(), &setup.fleet).await?;
    store.checkpoint().await?;
    store.close().await;
    drop(store);
    let context = AdminContext {
        controller: format!("https://{first}"),
        fleet: named,
        ca_pem: made.root_pem(),
        token: token.0,
    };
    let admin_context = data.join(CONTEXT_FILE);
    files::write_atomic(&admin_context, &json(&context), Access::Secret)?;
    let setup = SetupFile {
        format: FORMAT,
        fleet: setup.fleet.clone(),
        advertise: setup.advertised.iter().map(ToString::to_string).collect(),
    };
    // Last: its presence says that everything else is there.
    files::write_atomic(&data.join(SETUP_FILE), &json(&setup), Access::Public)?;
    Ok(Made { admin_context, root_key: pki::root_key_path(data) })
}

/// Reads what [`init`] wrote.
pub fn read_setup(data: &Path) -> Result<Setup, InitError> {
    let path = data.join(SETUP_FILE);
    if !path.exists() {
        return Err(InitError::NotInitialised(data.to_owned()));
    }
    let text = files::read_text(&path, MAX_SETUP_BYTES)?;
    parse_setup(data, text.as_bytes())
}

/// Of the controller whose folder it is for.
pub fn parse_setup(data: &Path, text: &[u8]) -> Result<Setup, InitError> {
    let setup: SetupFile = serde_json::from_slice(text)
        .ok()
        .filter(|setup: &SetupFile| setup.format == FORMAT)
        .ok_or_else(|| InitError::Setup { path: data.join(SETUP_FILE) })?;
    let advertised = setup.advertise.iter().map(|text| text.parse());
    Ok(Setup { fleet: setup.fleet, advertised: advertised.collect::<Result<_, _>>()? })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Structs of texts always have a JSON form.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
