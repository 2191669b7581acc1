//! Whether requirements are satisfied by what is installed: 300 distributions, which all require others.

use std::fs;
use std::hint::black_box;

use farcall::environment::installed::Installed;
use farcall::environment::requirement::Requirement;
use farcall::interpreter::Markers;
use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};
use tempfile::TempDir;

use crate::Case;

const DISTRIBUTIONS: usize = 300;

/// How many others each requires, besides some for extras, as in a directory for machine learning.
const REQUIRES: usize = 4;
const FOR_EXTRAS: usize = 10;

/// Reading which distributions there are.
pub(crate) fn names() -> Case {
    let site = site();
    Case::new("satisfied_names_300", move || {
        black_box(Installed::read(&[site.path().to_owned()], &markers()));
    })
}

/// A worker's first check: what each distribution says is read.
pub(crate) fn first_check() -> Case {
    let (site, wanted) = (site(), wanted());
    Case::new("satisfied_first_300", move || {
        let installed = Installed::read(&[site.path().to_owned()], &markers());
        assert!(installed.check(black_box(&wanted)).is_satisfied(), "everything is there");
    })
}

/// All later ones.
pub(crate) fn check_again() -> Case {
    let (site, wanted) = (site(), wanted());
    let installed = Installed::read(&[site.path().to_owned()], &markers());
    Case::new("satisfied_again_300", move || {
        assert!(installed.check(black_box(&wanted)).is_satisfied(), "everything is there");
        black_box(&site);
    })
}

/// The first one leads to all others.
fn wanted() -> Vec<Requirement> {
    vec![Requirement::parse("package-0>=1").expect("it is a requirement")]
}

fn site() -> TempDir {
    let site = tempfile::tempdir().expect("a directory can be made");
    for number in 0..DISTRIBUTIONS {
        let entry = site.path().join(format!("package_{number}-1.{number}.0.dist-info"));
        fs::create_dir(&entry).expect("it is empty");
        fs::write(entry.join("METADATA"), metadata(number)).expect("it is empty");
        let wheel = "Wheel-Version: 1.0\nGenerator: micro\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
        fs::write(entry.join("WHEEL"), wheel).expect("it is empty");
    }
    site
}

fn metadata(number: usize) -> String {
    let mut text = format!("Metadata-Version: 2.1\nName: package-{number}\nVersion: 1.{number}.0\n");
    text += "Summary: one of many\nLicense: MIT\nRequires-Python: >=3.8\n";
    for step in 1..=REQUIRES {
        let other = (number * REQUIRES + step) % DISTRIBUTIONS;
        text += &format!("Requires-Dist: package-{other} (>=1.0,<2) ; python_version >= \"3.8\"\n");
    }
    for extra in 0..FOR_EXTRAS {
        text += &format!("Requires-Dist: pytest-{extra} >=7 ; extra == 'test{extra}'\n");
    }
    text + "\n" + &"What it is good for, at length.\n".repeat(200)
}

fn markers() -> Markers {
    let environment = MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: "3.11.7",
        os_name: "posix",
        platform_machine: "x86_64",
        platform_python_implementation: "CPython",
        platform_release: "6.1.0",
        platform_system: "Linux",
        platform_version: "#1 SMP",
        python_full_version: "3.11.7",
        python_version: "3.11",
        sys_platform: "linux",
    };
    let environment = MarkerEnvironment::try_from(environment).expect("these are versions");
    Markers { environment, glibc: Some((2, 36)) }
}
