//! The machine that the agent runs on, told apart from copies of it.
//!
//! The fingerprint is SHA-256 over a salt of the agent's own and what names the machine: its machine-id, the addresses of its
//! network hardware, and the cloud's name for the instance where that is known; each behind its length. Salt and the fingerprint of
//! the last start are a file beside the identity, `<certificate>.machine`.
//!
//! Rules: what names the machine never leaves it, and nobody who has not the salt can guess it from the fingerprint; two copies of
//! one disk have one salt, so that their fingerprints differ exactly where the machines do. Interfaces without hardware of their
//! own (containers', bridges, tunnels) come and go, and are left out. Where nothing names the machine, all copies are alike; where
//! the salt cannot be kept there is no fingerprint, since it would be another at each start. Another fingerprint than at the last
//! start is told, and the agent goes on: what to make of it is the coordinator's.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use faultline_proto::bound::Fingerprint;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::enroll::replace;

/// Where the machine's names are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// File with the machine-id.
    pub id: PathBuf,
    /// Folder with an entry for each network interface, as the kernel has it.
    pub interfaces: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { id: PathBuf::from("/etc/machine-id"), interfaces: PathBuf::from("/sys/class/net") }
    }
}

/// What was found at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recognised {
    /// The fingerprint; `None` where the salt cannot be kept.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// It was another at the last start.
    pub(crate) is_other: bool,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    salt: String,
    fingerprint: String,
}

/// Recognises the machine of the agent with this certificate. `instance` is the cloud's name for it, where that is known.
pub(crate) fn recognise(certificate: &Path, places: &Places, instance: Option<&str>) -> Recognised {
    let path = beside(certificate);
    let kept = fs::read_to_string(&path).ok().and_then(|text| toml::from_str::<Kept>(&text).ok());
    let kept = kept.and_then(|kept| Some((HEXLOWER.decode(kept.salt.as_bytes()).ok()?, kept.fingerprint)));
    let (salt, last) = kept.unwrap_or_else(|| (rand::random::<[u8; SALT]>().to_vec(), String::new()));
    let fingerprint = fingerprint(&salt, places, instance);
    let told = HEXLOWER.encode(&fingerprint);
    let is_other = !last.is_empty() && last != told;
    if is_other {
        tracing::warn!(
            "the machine is not that of the last start: this is a copy of an agent's disk, or its hardware changed"
        );
    }
    if last != told {
        let text = toml::to_string(&Kept { salt: HEXLOWER.encode(&salt), fingerprint: told }).unwrap_or_default();
        if let Err(error) = replace(&path, &text) {
            tracing::warn!(file = %path.display(), %error, "what tells this machine from others cannot be kept");
            if last.is_empty() {
                return Recognised::default();
            }
        }
    }
    Recognised { fingerprint: Some(fingerprint), is_other }
}

fn fingerprint(salt: &[u8], places: &Places, instance: Option<&str>) -> Fingerprint {
    let mut context = Context::new(&SHA256);
    let mut cover = |part: &[u8]| {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    };
    cover(salt);
    cover(machine_id(&places.id).unwrap_or_default().as_bytes());
    cover(instance.unwrap_or_default().as_bytes());
    for address in addresses(&places.interfaces) {
        cover(address.as_bytes());
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// The machine-id. Source: machine-id(5): 32 hexadecimal digits, or "uninitialized" until the first boot is done.
fn machine_id(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let id = text.trim();
    let is_one = id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then(|| id.to_ascii_lowercase())
}

/// The addresses of the network hardware, sorted. Source: Linux, Documentation/ABI/testing/sysfs-class-net: `device` is there for
/// what hardware stands behind.
fn addresses(interfaces: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(interfaces) else { return Vec::new() };
    let address = |entry: io::Result<fs::DirEntry>| {
        let interface = entry.ok()?.path();
        interface.join("device").exists().then_some(())?;
        let address = fs::read_to_string(interface.join("address")).ok()?.trim().to_ascii_lowercase();
        let is_set = address.bytes().any(|c| c.is_ascii_hexdigit() && c != b'0');
        is_set.then_some(address)
    };
    let mut addresses: Vec<String> = entries.filter_map(address).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Where what is kept of the machine lies.
pub(crate) fn beside(certificate: &Path) -> PathBuf {
    let mut name = certificate.as_os_str().to_owned();
    name.push(".machine");
    name.into()
}

/// Bytes of the salt.
const SALT: usize = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(id: &str, hardware: &[(&str, &str)]) -> Self {
            let machine = Self(tempfile::tempdir().expect("a folder"));
            fs::write(machine.places().id, format!("{id}\n")).expect("written");
            fs::create_dir(machine.places().interfaces).expect("made");
            for (name, address) in hardware {
                machine.add(name, address, true);
            }
            machine
        }

        fn places(&self) -> Places {
            Places { id: self.0.path().join("machine-id"), interfaces: self.0.path().join("net") }
        }

        fn add(&self, name: &str, address: &str, is_hardware: bool) {
            let folder = self.places().interfaces.join(name);
            fs::create_dir(&folder).expect("made");
            fs::write(folder.join("address"), format!("{address}\n")).expect("written");
            if is_hardware {
                fs::create_dir(folder.join("device")).expect("made");
            }
        }
    }

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_machine_is_the_same_at_each_start_and_a_copy_of_its_disk_elsewhere_is_told() {
        let state = tempfile::tempdir().expect("a folder");
        let certificate = state.path().join("identity.pem");
        let machine = Machine::new(ID, &[("eth1", "52:54:00:00:00:02"), ("eth0", "52:54:00:00:00:01")]);
        let first = recognise(&certificate, &machine.places(), None);
        assert!(first.fingerprint.is_some() && !first.is_other);
        assert_eq!(recognise(&certificate, &machine.places(), None), first);
        machine.add("veth7", "02:42:ac:11:00:02", false);
        machine.add("lo", "00:00:00:00:00:00", true);
        assert_eq!(recognise(&certificate, &machine.places(), None), first, "what comes and goes is left out");
        let mode = fs::metadata(state.path().join("identity.pem.machine")).expect("kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let copy = Machine::new(ID, &[("eth0", "52:54:00:00:00:03")]);
        let told = recognise(&certificate, &copy.places(), None);
        assert!(told.is_other && told.fingerprint != first.fingerprint);
        assert!(!recognise(&certificate, &copy.places(), None).is_other, "told at the first start");
    }

    #[test]
    fn each_name_of_the_machine_tells_it_apart() {
        let hardware = [("eth0", "52:54:00:00:00:01")];
        let machine = Machine::new(ID, &hardware);
        let other_id = Machine::new(&ID.replace('0', "1"), &hardware);
        let other_hardware = Machine::new(ID, &[("eth0", "52:54:00:00:00:02")]);
        let of = |machine: &Machine, instance| fingerprint(&[7; SALT], &machine.places(), instance);
        let all = [of(&machine, None), of(&machine, Some("i-1")), of(&other_id, None), of(&other_hardware, None)];
        for (n, one) in all.iter().enumerate() {
            assert!(all.iter().skip(n + 1).all(|other| one != other), "{n}");
        }
        assert_ne!(all[0], fingerprint(&[8; SALT], &machine.places(), None), "nobody guesses it without the salt");
        let young = Machine::new("uninitialized", &hardware);
        assert_eq!(machine_id(&young.places().id), None);
    }

    #[test]
    fn without_a_place_to_keep_the_salt_there_is_no_fingerprint() {
        let machine = Machine::new(ID, &[]);
        let nowhere = machine.0.path().join("missing/identity.pem");
        assert_eq!(recognise(&nowhere, &machine.places(), None), Recognised::default());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_made_anew() {
        let machine = Machine::new(ID, &[]);
        let certificate = machine.0.path().join("identity.pem");
        fs::write(beside(&certificate), "nonsense").expect("written");
        let found = recognise(&certificate, &machine.places(), None);
        assert!(found.fingerprint.is_some() && !found.is_other);
        assert_eq!(recognise(&certificate, &machine.places(), None), found);
    }
}
