//! `hawser-controller fleet`.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use x509_parser::time::ASN1Time;

use super::tell_made;
use crate::init;
use crate::pki::Advertised;
use crate::removal;
use crate::store::StoreFlags;

#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Make another fleet in DIR/fleets/NAME: its own CA, store, first admin token. It is served from the next start of `run`.
    Add {
        /// The folder that init made.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The fleet's name: a DNS label.
        #[arg(long, value_name = "NAME")]
        fleet: String,
        /// Where its agents and operators reach the controller; by default as those of the first.
        #[arg(long, value_name = "HOST:PORT", num_args = 1..)]
        advertise: Vec<Advertised>,
        #[command(flatten)]
        store: Box<StoreFlags>,
    },
    /// Names and folders of all fleets, the first one first.
    List {
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Move a fleet's folder to DIR/fleets/.removed/NAME-DATE, while no controller serves it. Nothing is deleted, in etcd neither.
    Remove {
        /// The fleet's name.
        name: String,
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Do not ask for the name again.
        #[arg(long)]
        yes: bool,
    },
}

impl FleetCommand {
    pub async fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Add { data, fleet, advertise, store } => {
                let made = init::add_fleet(&data, &fleet, advertise, &store.choice()).await?;
                tell_made(&fleet, &made);
                println!("It is served from the next start of: {}", run_of(&data));
                Ok(())
            }
            Self::List { data } => {
                println!("{} {}", init::read_setup(&data)?.fleet, data.display());
                for (fleet, folder) in init::fleets_beside(&data)? {
                    println!("{fleet} {}", folder.display());
                }
                Ok(())
            }
            Self::Remove { name, data, yes } => {
                if !yes && !confirmed(&name)? {
                    return Err("that is not its name; nothing was done".into());
                }
                let to = removal::remove_fleet(&data, &name, &date())?;
                println!("The fleet {name} is now in {}.", to.display());
                println!(
                    "Moved back to where it was, it is served from the next start of: {}",
                    run_of(&data)
                );
                Ok(())
            }
        }
    }
}

fn run_of(data: &Path) -> String {
    format!("hawser-controller run --data {}", data.display())
}

fn confirmed(name: &str) -> std::io::Result<bool> {
    eprintln!(
        "No edge of {name} will have a controller any more. Type the fleet's name to remove it:"
    );
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    Ok(typed.trim() == name)
}

/// UTC, to be part of a file's name.
fn date() -> String {
    let now = ASN1Time::now().to_datetime();
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    )
}
