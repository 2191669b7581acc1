use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use pep508_rs::MarkerEnvironmentBuilder;
use tempfile::TempDir;

use super::*;

/// CPython 3.11.7 on Linux.
pub(super) fn markers() -> Markers {
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
    Markers { environment: environment.try_into().unwrap(), glibc: Some((2, 36)) }
}

/// A directory of packages.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Adds a distribution; `headers` are those besides its name and version.
    fn with(self, name: &str, version: &str, headers: &str) -> Self {
        let entry = format!("{}-{version}.dist-info", name.replace('-', "_"));
        let metadata =
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{headers}\n\nAbout it.\n");
        self.with_file(&format!("{entry}/METADATA"), &metadata)
    }

    fn with_file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn read(&self) -> Installed {
        Installed::read(&[self.0.path().to_owned()], &markers())
    }

    /// The verdict on some requirements, as the log shows it.
    fn verdict(&self, requirements: &[&str]) -> String {
        let parse = |text: &&str| Requirement::parse(text).unwrap();
        self.read().check(&requirements.iter().map(parse).collect::<Vec<_>>()).to_string()
    }
}

fn web() -> Site {
    Site::new()
        .with(
            "requests",
            "2.31.0",
            "Requires-Python: >=3.7\nRequires-Dist: urllib3 (<3,>=1.21.1)\n\
            Requires-Dist: certifi>=2017\nRequires-Dist: PySocks!=1.5.7 ; extra == 'socks'\n\
            Requires-Dist: requests[socks,toml] ; extra == 'all'\n\
            Requires-Dist: tomli ; python_version < '3.11' and extra == 'toml'\n\
            Requires-Dist: winloop ; sys_platform == 'win32'",
        )
        .with("urllib3", "2.0.7", "")
        .with("certifi", "2024.2.2", "")
}

#[test]
fn what_is_there_with_all_it_requires_is_satisfied() {
    let site = web();
    assert_eq!(site.verdict(&["Requests>=2,<3", "urllib3"]), "satisfied");
    assert_eq!(site.verdict(&["requests[toml]", "winloop; sys_platform == 'win32'"]), "satisfied");
    assert_eq!(site.verdict(&["requests[nonsense]"]), "satisfied");
    assert_eq!(site.verdict(&[]), "satisfied");
}

#[test]
fn the_first_thing_that_lacks_is_named() {
    let site = web();
    assert_eq!(site.verdict(&["numpy"]), "`numpy` is not installed");
    assert_eq!(site.verdict(&["requests>2.31"]), "`requests>2.31` is installed as 2.31.0");
    let socks = "`pysocks!=1.5.7 ; extra == 'socks'`, which requests requires, is not installed";
    assert_eq!(site.verdict(&["requests[socks]"]), socks);
    assert_eq!(site.verdict(&["requests[all]"]), socks);
    let site = site.with("pysocks", "1.5.7", "");
    assert!(site.verdict(&["requests[all]"]).ends_with("which requests requires, is installed as 1.5.7"));
    let direct = site.verdict(&["requests @ https://user:secret@host/requests.whl"]);
    assert!(direct.ends_with(" is a direct reference") && !direct.contains("secret"), "{direct}");
}

#[test]
fn circles_end() {
    let site = Site::new().with("a", "1", "Requires-Dist: b[x]\nRequires-Dist: a[y] ; extra == 'x'").with(
        "b",
        "1",
        "Requires-Dist: a[x] ; extra == 'x'",
    );
    assert_eq!(site.verdict(&["a", "b[x]"]), "satisfied");
}

#[test]
fn prereleases_and_local_versions_that_are_installed_count() {
    let site = Site::new().with("torch", "2.1.0+cu118", "").with("new", "2.0rc1", "");
    assert_eq!(site.verdict(&["torch==2.1.0", "torch===2.1.0+cu118", "new", "new>=1"]), "satisfied");
    assert_eq!(site.verdict(&["torch==2.1.0+cpu"]), "`torch==2.1.0+cpu` is installed as 2.1.0+cu118");
    assert_eq!(site.verdict(&["new>=2"]), "`new>=2` is installed as 2.0rc1");
}

#[test]
fn what_is_not_for_this_interpreter_is_not_taken() {
    let site = Site::new()
        .with("later", "1", "Requires-Python: >=3.12")
        .with("native", "1", "")
        .with_file("native-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp310-cp310-linux_x86_64\n")
        .with("fitting", "1", "")
        .with_file("fitting-1.dist-info/WHEEL", "Tag: py2-none-any\r\nTag: py3-none-any\r\n");
    assert_eq!(site.verdict(&["later"]), "`later` is installed, but for Python >=3.12");
    assert_eq!(site.verdict(&["native"]), "`native` is installed, but for cp310-cp310-linux_x86_64");
    assert_eq!(site.verdict(&["fitting"]), "satisfied");
}

#[test]
fn the_unusual_is_left_to_uv() {
    let site = Site::new()
        .with("editable", "1", "")
        .with_file(
            "editable-1.dist-info/direct_url.json",
            r#"{"url": "file:///x", "dir_info": {"editable": true}}"#,
        )
        .with("from-url", "1", "")
        .with_file(
            "from_url-1.dist-info/direct_url.json",
            r#"{"url": "https://h/x.whl", "archive_info": {}}"#,
        )
        .with("built", "1", "")
        .with_file("built-1.dist-info/uv_build.json", r#"{"config_settings": {"a": "b"}}"#)
        .with("odd", "1", "Requires-Dist: ???")
        .with("linked", "1", "Requires-Dist: odd @ https://host/odd.whl")
        .with_file("bare-1.dist-info/RECORD", "")
        .with_file("other-1.dist-info/METADATA", "Name: another\nVersion: 1\n\n")
        .with_file("older-1.dist-info/METADATA", "Name: older\nVersion: 0.9\n\n")
        .with_file("egg-1.0-py3.11.egg-info/PKG-INFO", "Name: egg\nVersion: 1.0\n")
        .with_file("develop.egg-link", "/src\n.\n")
        .with("twice", "1", "")
        .with("twice", "2", "");
    let expected = [
        ("editable", "`editable` is installed from a source tree"),
        ("from-url", "satisfied"),
        ("built", "`built` was built with settings of its own"),
        ("odd", "`???`, which odd requires, is not understood"),
        ("linked", "`odd @ https://host/odd.whl`, which linked requires, is a direct reference"),
        ("bare", "`bare` is installed without metadata that can be understood"),
        ("other", "`other` is installed without metadata that can be understood"),
        ("older", "`older` is installed without metadata that can be understood"),
        ("egg", "`egg` is installed as an egg"),
        ("develop", "`develop` is installed as an egg"),
        ("twice", "`twice` is installed more than once"),
    ];
    for (name, verdict) in expected {
        assert_eq!(site.verdict(&[name]), verdict);
    }
}

#[test]
fn of_two_directories_the_first_has_the_version_that_is_imported() {
    let (own, user) = (web(), Site::new().with("urllib3", "1.26.0", "").with("six", "1.16.0", ""));
    let directories = [user.0.path().to_owned(), own.0.path().to_owned()];
    let installed = Installed::read(&directories, &markers());
    let versions: Vec<_> = installed.versions().map(|(name, version)| format!("{name}=={version}")).collect();
    assert_eq!(versions, ["certifi==2024.2.2", "requests==2.31.0", "six==1.16.0", "urllib3==1.26.0"]);
    let verdict = installed.check(&[Requirement::parse("requests").unwrap()]);
    assert_eq!(verdict.lack().unwrap().reason, Reason::Twice);
    assert!(installed.check(&[Requirement::parse("six").unwrap()]).is_satisfied());
}

#[test]
fn entries_of_the_path_that_are_no_directories_are_empty() {
    let site = web().with_file("archive-packages", "PK");
    let link = site.0.path().join("lib64-packages");
    std::os::unix::fs::symlink(site.0.path(), &link).unwrap();
    let none = site.0.path().join("none/site-packages");
    let archive = site.0.path().join("archive-packages");
    let directories = [none.clone(), archive, site.0.path().to_owned(), link];
    let installed = Installed::read(&directories, &markers());
    assert_eq!(installed.versions().count(), 3);
    assert!(installed.check(&[Requirement::parse("requests").unwrap()]).is_satisfied());
    fs::create_dir_all(none).unwrap();
    assert!(!installed.is_current());
}

#[test]
fn the_fingerprint_says_what_is_installed_and_not_where() {
    let fingerprint = web().read().fingerprint();
    assert_eq!(web().read().fingerprint(), fingerprint);
    assert_ne!(web().with("six", "1.16.0", "").read().fingerprint(), fingerprint);
    assert_ne!(web().with_file("urllib3.egg-link", "/src").read().fingerprint(), fingerprint);
}

#[test]
fn a_change_shows() {
    fn settled(path: &Path) -> Installed {
        let started = Instant::now();
        loop {
            let installed = Installed::read(&[path.to_owned()], &markers());
            if installed.is_current() {
                return installed;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "it never settles");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let site = web();
    let installed = settled(site.0.path());
    assert!(installed.is_current());
    let site = site.with("six", "1.16.0", "");
    assert!(!installed.is_current());
    let installed = settled(site.0.path());
    fs::remove_dir_all(site.0.path().join("six-1.16.0.dist-info")).unwrap();
    assert!(!installed.is_current());
}
