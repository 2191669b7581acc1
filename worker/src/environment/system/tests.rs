//! A machine of shell scripts: its `apt-get` writes down what it was asked for and does what a test says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex as StdMutex;

use tempfile::TempDir;

use super::*;

/// What dpkg-query lists from the beginning.
const INSTALLED: &str = "dpkg\\tamd64\\tii \\t1.22\\t\\n";

struct Machine {
    directory: TempDir,
    said: StdMutex<Vec<String>>,
}

impl Machine {
    /// With fresh lists of packages. `apt_get` is what happens after its `update` or `install` is written down;
    /// `install NAME` in it makes dpkg-query list a package.
    fn new(apt_get: &str) -> Self {
        let machine = Self { directory: tempfile::tempdir().unwrap(), said: StdMutex::default() };
        for below in ["bin", "root/var/lib/dpkg", "root/var/lib/apt/lists/partial", "root/etc"] {
            fs::create_dir_all(machine.path(below)).unwrap();
        }
        fs::write(machine.path("root/var/lib/apt/lists/main_Packages"), "").unwrap();
        fs::write(machine.path("root/etc/os-release"), "PRETTY_NAME=\"Testian 1 (first)\"\n").unwrap();
        fs::write(machine.path("root/var/lib/dpkg/status"), "").unwrap();
        fs::write(machine.path("listed"), INSTALLED.replace("\\t", "\t").replace("\\n", "\n")).unwrap();
        machine.program("dpkg-query", "echo query >> HERE/log; cat HERE/listed");
        machine.program("apt-get", &format!("{PROLOGUE}\n{apt_get}"));
        machine
    }

    fn without_lists(self) -> Self {
        fs::remove_file(self.path("root/var/lib/apt/lists/main_Packages")).unwrap();
        self
    }

    fn with_old_lists(self) -> Self {
        let time = SystemTime::now() - Duration::from_hours(1);
        for directory in ["root/var/lib/apt/lists/partial", "root/var/lib/apt/lists"] {
            fs::File::open(self.path(directory)).unwrap().set_modified(time).unwrap();
        }
        self
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn program(&self, name: &str, script: &str) {
        let script = script.replace("HERE", &self.directory.path().display().to_string());
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn packages(&self) -> SystemPackages {
        // `cat` and the like are wanted, the machine's own apt-get comes after ours.
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut packages = SystemPackages::new(path, Duration::from_secs(20));
        packages.root = self.path("root");
        packages.is_root = true;
        packages
    }

    async fn ensure(
        &self,
        packages: &SystemPackages,
        names: &[&str],
    ) -> Result<Option<Installation>, SystemError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let report = |line: &str| self.said.lock().unwrap().push(line.to_owned());
        packages.ensure(&names, true, &report).await
    }

    /// What was run, dpkg-query left out; of apt-get what comes before the options that are always there.
    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines().filter(|line| *line != "query").map(str::to_owned).collect()
    }

    fn queries(&self) -> usize {
        fs::read_to_string(self.path("log"))
            .unwrap_or_default()
            .lines()
            .filter(|line| *line == "query")
            .count()
    }
}

/// Writes down the command and its packages, and offers `install`.
const PROLOGUE: &str = r#"
command=$1; shift; names=; fixing=
while [ $# -gt 0 ]; do case $1 in -o) shift ;; --fix-broken) fixing=' --fix-broken' ;; -*) ;; *) names="$names $1" ;; esac; shift; done
echo "$command$fixing$names frontend=$DEBIAN_FRONTEND" >> HERE/log
install() { for name in "$@"; do printf '%s\tamd64\tii \t1.0\t\n' "$name" >> HERE/listed; done; echo "$@" >> HERE/root/var/lib/dpkg/status; }
[ "$command" = update ] && { touch HERE/updated HERE/root/var/lib/apt/lists/main_Packages HERE/root/var/lib/apt/lists/partial; }
"#;

const INSTALL_ALL: &str = "[ $command = install ] && install $names; true";

#[tokio::test]
async fn what_is_missing_is_installed_and_told() {
    let machine = Machine::new(INSTALL_ALL);
    let packages = machine.packages();
    let installation = machine.ensure(&packages, &["ffmpeg", "dpkg"]).await.unwrap().unwrap();
    assert_eq!(machine.log(), ["install ffmpeg frontend=noninteractive"], "not what is there, and no update");
    assert_eq!(installation.packages.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ffmpeg 1.0"]);
    let said = machine.said.lock().unwrap().join("\n");
    assert!(said.starts_with("installed ffmpeg 1.0 by apt in "), "{said}");
}

#[tokio::test]
async fn what_is_there_is_asked_for_once_until_the_database_changes() {
    let machine = Machine::new("exit 1");
    let packages = machine.packages();
    for _ in 0..3 {
        assert!(machine.ensure(&packages, &["dpkg"]).await.unwrap().is_none());
    }
    assert_eq!(machine.queries(), 1);
    let status = fs::File::options().append(true).open(machine.path("root/var/lib/dpkg/status")).unwrap();
    status.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
    machine.ensure(&packages, &["dpkg"]).await.unwrap();
    assert_eq!(machine.queries(), 2);
    assert!(machine.log().is_empty() && machine.said.lock().unwrap().is_empty());
}

#[tokio::test]
async fn lists_are_fetched_where_there_are_none() {
    let machine = Machine::new(INSTALL_ALL).without_lists();
    let packages = machine.packages();
    machine.ensure(&packages, &["ffmpeg"]).await.unwrap();
    machine.ensure(&packages, &["git"]).await.unwrap();
    let expected = [
        "update frontend=noninteractive",
        "install ffmpeg frontend=noninteractive",
        "install git frontend=noninteractive",
    ];
    assert_eq!(machine.log(), expected, "once");
}

#[tokio::test]
async fn lists_that_are_too_old_for_a_package_are_fetched_and_it_is_tried_again() {
    let script = "[ $command = update ] && exit 0
        [ -e HERE/updated ] || { echo 'E: Unable to locate package ffmpeg' >&2; exit 100; }
        install $names";
    let machine = Machine::new(script).with_old_lists();
    machine.ensure(&machine.packages(), &["ffmpeg"]).await.unwrap();
    let commands: Vec<_> =
        machine.log().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(commands, ["install", "update", "install"]);
}

#[tokio::test]
async fn an_unknown_package_is_named_with_the_release() {
    let machine =
        Machine::new("echo 'E: Unable to locate package nonesuch' >&2; [ $command = update ] || exit 100");
    let error = machine.ensure(&machine.packages(), &["nonesuch"]).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"
    system dependencies ["nonesuch"] are not in this image's package sources
    hint: names differ between releases, and this is Testian 1 (first)
    "#);
}

#[tokio::test]
async fn lists_that_cannot_be_fetched_are_the_reason() {
    let script = "[ $command = update ] && { rm -f HERE/root/var/lib/apt/lists/main_Packages; echo 'E: Could not resolve host' >&2; exit 100; }
        echo 'E: Unable to locate package ffmpeg' >&2; exit 100";
    let machine = Machine::new(script).without_lists();
    let error = machine.ensure(&machine.packages(), &["ffmpeg"]).await.unwrap_err();
    assert!(crate::job::with_causes(&error).contains("Could not resolve host"), "{error:?}");
}

#[tokio::test]
async fn an_interrupted_installation_is_finished_first() {
    let script = "[ \"$fixing\" ] && { touch HERE/fixed; exit 0; }
        [ -e HERE/fixed ] || { echo 'E: dpkg was interrupted, you must manually run dpkg' >&2; exit 100; }
        install $names";
    let machine = Machine::new(script);
    machine.program("dpkg", "echo dpkg $1 $2 >> HERE/log");
    machine.ensure(&machine.packages(), &["ffmpeg"]).await.unwrap();
    let log = machine.log();
    let commands: Vec<_> = log.iter().map(|line| line.split(" frontend").next().unwrap()).collect();
    assert_eq!(
        commands,
        ["install ffmpeg", "dpkg --configure --pending", "install --fix-broken", "install ffmpeg"]
    );
}

#[tokio::test]
async fn a_lock_is_waited_for() {
    let script = "[ -e HERE/tried ] || { touch HERE/tried; echo 'E: Unable to lock directory /var/lib/apt/lists/' >&2; exit 100; }
        install $names";
    let machine = Machine::new(script);
    machine.ensure(&machine.packages(), &["ffmpeg"]).await.unwrap();
    assert_eq!(machine.log().len(), 2);
}

#[tokio::test]
async fn several_requests_install_one_after_another_and_the_same_only_once() {
    let script = "[ -e HERE/busy ] && { echo overlap >> HERE/log; exit 1; }
        touch HERE/busy; sleep 0.1; rm HERE/busy; install $names";
    let machine = Machine::new(script);
    let packages = machine.packages();
    let (one, same, other) = tokio::join!(
        machine.ensure(&packages, &["ffmpeg"]),
        machine.ensure(&packages, &["ffmpeg"]),
        machine.ensure(&packages, &["git"])
    );
    let installed = [one, same, other].into_iter().filter_map(Result::unwrap).count();
    assert_eq!((installed, machine.log().len()), (2, 2), "{:?}", machine.log());
}

#[tokio::test]
async fn nala_installs_several_and_apt_get_what_nala_cannot() {
    let machine = Machine::new(INSTALL_ALL);
    machine.program("nala", &format!("{PROLOGUE}\ninstall $names"));
    let packages = machine.packages();
    let installation = machine.ensure(&packages, &["ffmpeg", "git"]).await.unwrap().unwrap();
    assert_eq!((installation.program, machine.log().len()), ("nala", 1));
    machine.program("nala", "exit 1");
    let installation = machine.ensure(&packages, &["curl", "jq"]).await.unwrap().unwrap();
    assert_eq!(installation.program, "apt");
}

#[tokio::test]
async fn an_installation_that_hangs_ends_at_the_deadline() {
    let machine = Machine::new("sleep 60");
    let mut packages = machine.packages();
    packages.deadline = Duration::from_millis(300);
    let error = machine.ensure(&packages, &["ffmpeg"]).await.unwrap_err();
    assert!(matches!(error, SystemError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_is_said() {
    let machine = Machine::new("echo 'E: Write error - write (28: No space left on device)' >&2; exit 100");
    let error = machine.ensure(&machine.packages(), &["ffmpeg"]).await.unwrap_err();
    assert!(matches!(error, SystemError::DiskFull { .. }), "{error:?}");
}

#[tokio::test]
async fn without_apt_get_or_root_a_sentence_says_so() {
    let machine = Machine::new("exit 1");
    let mut packages = machine.packages();
    packages.is_root = false;
    insta::assert_snapshot!(machine.ensure(&packages, &["ffmpeg"]).await.unwrap_err(), @r#"
    system dependencies ["ffmpeg"] requested but the worker is not root
    hint: run it as root, or use an image that has them
    "#);
    packages.path = machine.path("empty").display().to_string();
    insta::assert_snapshot!(machine.ensure(&packages, &["ffmpeg"]).await.unwrap_err(), @r#"
    system dependencies ["ffmpeg"] requested but apt-get is not available in this image
    hint: use an image made from Debian or Ubuntu, or one that has them
    "#);
}

#[tokio::test]
async fn names_are_checked_before_anything_runs() {
    let machine = Machine::new(INSTALL_ALL);
    for name in ["--allow-downgrades", "ffmpeg; id", "$(id)", "libc6-"] {
        let error = machine.ensure(&machine.packages(), &["git", name]).await.unwrap_err();
        assert!(matches!(error, SystemError::BadName { .. }), "{error:?}");
    }
    assert!(machine.log().is_empty() && machine.queries() == 0);
}
