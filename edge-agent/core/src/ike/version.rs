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

/// Of a private key, as its certificate tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Rsa,
    Ecdsa,
    Ed25519,
}

/// Whether it can sign with such a key.
#[must_use]
pub fn lacks_for_key(daemon: &Daemon, kind: KeyKind) -> Option<Lack> {
    let (any_of, package): (&[&str], _) = match kind {
        KeyKind::Rsa => (&["gmp", "openssl", "wolfssl", "botan"], "libstrongswan"),
        KeyKind::Ecdsa => (&["openssl", "wolfssl", "botan"], "libstrongswan-standard-plugins"),
        KeyKind::Ed25519 => {
            (&["curve25519", "openssl", "wolfssl", "botan"], "libstrongswan-extra-plugins")
        }
    };
    lacks_all(daemon, any_of, package, &format!("sign with a key of {kind:?}"))
}

/// Whether it can do the Diffie-Hellman group of that name.
#[must_use]
pub fn lacks_for_group(daemon: &Daemon, group: &str) -> Option<Lack> {
    let (any_of, package): (&[&str], _) = match group {
        "x25519" => {
            (&["curve25519", "openssl", "wolfssl", "botan"], "libstrongswan-standard-plugins")
        }
        _ if group.starts_with("ecp") => {
            (&["openssl", "wolfssl", "botan"], "libstrongswan-standard-plugins")
        }
        _ => (&["gmp", "openssl", "wolfssl", "botan", "gcrypt"], "libstrongswan"),
    };
    lacks_all(daemon, any_of, package, &format!("do {group}"))
}

fn lacks_all(daemon: &Daemon, any_of: &[&str], package: &str, what: &str) -> Option<Lack> {
    if daemon.plugins.iter().any(|loaded| any_of.contains(&loaded.as_str())) {
        return None;
    }
    let all = any_of.join(", ");
    Some(Lack {
        code: "IKE_PLUGIN",
        message: format!("charon can't {what}: it has loaded none of {all}"),
        mend: format!("apt-get install {package}, and restart the agent"),
    })
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
