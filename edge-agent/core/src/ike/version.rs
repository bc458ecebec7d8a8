//! Whether a charon can do what is asked of it.

use super::vici::Section;

/// The oldest that is tried by our tests is newer; from this one on its VICI has all that is used.
pub const MIN_VERSION: (u32, u32) = (5, 9);

/// A plugin that must be loaded, and the Debian package that has it.
const PLUGINS: [(&str, &str); 3] = [
    ("kernel-netlink", "strongswan-libcharon"),
    ("socket-default", "strongswan-libcharon"),
    ("nonce", "libstrongswan"),
];

/// Who answers (`version` and `stats`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Daemon {
    pub name: String,
    pub version: String,
    pub plugins: Vec<String>,
}

/// Something that is needed and not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// A stable name.
    pub code: &'static str,
    pub message: String,
    pub mend: String,
}

impl Daemon {
    #[must_use]
    pub fn new(version: &Section, stats: &Section) -> Daemon {
        let text = |name| version.text(name).unwrap_or_default().to_owned();
        let plugins = stats.texts("plugins").map(str::to_owned).collect();
        Daemon { name: text("daemon"), version: text("version"), plugins }
    }
}

/// Empty: it can.
#[must_use]
pub fn lacks(daemon: &Daemon) -> Vec<Lack> {
    let mut found = Vec::new();
    let mut numbers = daemon.version.split('.').map(|part| {
        let digits = part.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse::<u32>().unwrap_or_default()
    });
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version < MIN_VERSION {
        let (major, minor) = MIN_VERSION;
        let message = format!("strongSwan {:?} is older than {major}.{minor}", daemon.version);
        found.push(Lack {
            code: "IKE_VERSION",
            message,
            mend: "install a newer strongSwan".into(),
        });
    }
    for (plugin, package) in PLUGINS {
        if !daemon.plugins.iter().any(|loaded| loaded == plugin) {
            let message = format!("charon has not loaded its plugin {plugin}");
            let mend = format!("apt-get install {package}, and let strongswan.conf load {plugin}");
            found.push(Lack { code: "IKE_PLUGIN", message, mend });
        }
    }
    found
}
