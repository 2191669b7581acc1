//! Whether requirements are satisfied by what is installed: our answer beside uv's, for hundreds of sets.
//!
//! Ours may be no where uv finds nothing to do, for what is unusual; it must never be yes where uv would install
//! something. uv answers offline, after the packages have been installed.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

mod satisfied {
    pub(crate) mod base;
    pub(crate) mod sets;
}

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use farcall::environment::installed::{Installed, Reason, Verdict};
use farcall::environment::requirement::Requirement;
use satisfied::base::Base;
use satisfied::sets;

/// uv and we ask the same disk: more threads than processors only wait.
const THREADS: usize = 2;

/// Both answers on one set.
struct Compared {
    set: Vec<String>,
    ours: Verdict,
    uv: bool,
}

/// Versions that uv admits and the standard does not (`===` compares text), or the other way round in the library
/// that we share with older versions of it.
const ADMITTED_BY_UV: [&str; 2] = ["numpy===1.26.4.0", "pytest<8.0.0rc3"];

impl Compared {
    /// Whether it is satisfied, or for one of the reasons why we leave it to uv.
    fn is_unusual(&self) -> bool {
        let Some(lack) = self.ours.lack() else { return true };
        match lack.reason {
            Reason::Egg | Reason::Editable | Reason::Python(_) | Reason::Unclear => true,
            Reason::Version(_) => ADMITTED_BY_UV.contains(&lack.requirement.as_str()),
            _ => false,
        }
    }
}

#[tokio::test]
async fn satisfied_means_that_uv_installs_nothing() {
    let Some(base) = Base::prepare() else { return };
    let site = base.interpreter().await.site().await.unwrap();
    let installed = Installed::read(&site.directories, &site.markers);
    let versions: Vec<_> =
        installed.versions().map(|(name, version)| (name.to_owned(), version.to_owned())).collect();
    let compared = compare(&base, &installed, sets::by_hand().into_iter().chain(sets::generated(&versions)));

    let wrong: Vec<_> = compared.iter().filter(|one| one.ours.is_satisfied() && !one.uv).collect();
    assert!(wrong.is_empty(), "{:?}", wrong.iter().map(|one| &one.set).collect::<Vec<_>>());
    let count = |ours: bool, uv: bool| {
        compared.iter().filter(|one| one.ours.is_satisfied() == ours && one.uv == uv).count()
    };
    let (yes, no, asked) = (count(true, true), count(false, false), count(false, true));
    println!("{yes} satisfied, {no} not, {asked} that only uv finds satisfied");
    assert!(yes >= 100 && no >= 100, "{yes} satisfied, {no} not");
    assert!(asked * 10 <= compared.len(), "{asked} of {}", compared.len());
    let usual: Vec<_> = compared.iter().filter(|one| one.uv && !one.is_unusual()).collect();
    let shown: Vec<_> = usual.iter().map(|one| format!("{:?}: {}", one.set, one.ours)).collect();
    assert!(usual.is_empty(), "left to uv: {shown:#?}");
}

fn compare(base: &Base, installed: &Installed, sets: impl Iterator<Item = Vec<String>>) -> Vec<Compared> {
    let (sets, next) = (sets.collect::<Vec<_>>(), AtomicUsize::new(0));
    let compared = Mutex::new(Vec::new());
    let work = || {
        while let Some(set) = sets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let parse = |text: &String| Requirement::parse(text).unwrap_or_else(|error| panic!("{error}"));
            let requirements: Vec<_> = set.iter().map(parse).collect();
            let ours = installed.check(&requirements);
            let uv = base.has_nothing_to_do(&requirements);
            compared.lock().unwrap().push(Compared { set: set.clone(), ours, uv });
        }
    };
    thread::scope(|scope| {
        (0..THREADS).for_each(|_| {
            scope.spawn(work);
        });
    });
    compared.into_inner().unwrap()
}
