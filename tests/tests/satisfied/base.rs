//! A virtual environment with packages of the index, and with some that no index has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::Python;
use farcall::config::Config;
use farcall::environment::requirement::Requirement;
use farcall::interpreter::Interpreter;
use tempfile::TempDir;

/// What is installed from the index: extras, markers, wheels of C extensions, a prerelease, a source archive.
const PACKAGES: [&str; 9] = [
    "requests[socks]==2.31.0",
    "numpy==1.26.4",
    "packaging==24.0",
    "jinja2==3.1.4",
    "pydantic==2.7.1",
    "pytest==8.0.0rc2",
    "httpx==0.27.0",
    "importlib-metadata==7.1.0",
    "docopt==0.6.2",
];

/// What is written by hand: the directory's name and its headers besides name and version.
const BY_HAND: [(&str, &str); 10] = [
    ("local_build-1.0+cu118", "Requires-Dist: numpy (>=1.20)"),
    (
        "bundle-2.0",
        "Provides-Extra: all\nProvides-Extra: a\nProvides-Extra: b\nRequires-Dist: bundle[a] ; extra == 'all'\n\
         Requires-Dist: packaging>=20 ; extra == 'a'\nRequires-Dist: not-there ; extra == 'b'",
    ),
    (
        "marked-0.5",
        "Requires-Dist: not-there ; python_version < '3.8' or sys_platform == 'win32'\n\
         Requires-Dist: idna ; os.name == 'posix'\nRequires-Dist: packaging~=24.0 ; platform_machine != 'none'",
    ),
    ("broken-1.0", "Requires-Dist: urllib3<2"),
    ("unclear-1.0", "Requires-Dist: idna ; python_version == 'new'"),
    ("later-1.0", "Requires-Python: >=3.99"),
    ("linked-1.0", "Requires-Dist: idna @ https://localhost/idna-1.0-py3-none-any.whl"),
    ("editable-1.0", ""),
    ("foreign-1.0", ""),
    ("from_url-1.0", "Requires-Dist: marked"),
];

/// The environment, and uv.
#[derive(Debug)]
pub(crate) struct Base {
    directory: TempDir,
    uv: PathBuf,
}

impl Base {
    /// Makes it. None, with the reason on standard error, if its packages cannot be had: without a network, say.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests shall know what was left out")]
    pub(crate) fn prepare() -> Option<Self> {
        let own = Python::under_test();
        let beside = own.path().with_file_name("uv");
        let uv = if beside.is_file() { beside } else { "uv".into() };
        let base = Self { directory: tempfile::tempdir().unwrap(), uv };
        base.run(base.command(&["venv", "--python"]).arg(own.path()).arg(base.directory.path().join("base")))
            .and_then(|()| {
                base.run(base.command(&["pip", "install", "--python"]).arg(base.python()).args(PACKAGES))
            })
            .map_err(|reason| eprintln!("skipped: the packages cannot be installed: {reason}"))
            .ok()?;
        base.add_what_no_index_has();
        Some(base)
    }

    /// What farcall makes of it.
    pub(crate) async fn interpreter(&self) -> Interpreter {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let config = Config::read(|name| match name {
            "FARCALL_PYTHON" => Some(text(&self.python())),
            "FARCALL_CACHE_DIR" => Some(text(&self.directory.path().join("cache"))),
            _ => None,
        });
        Interpreter::find(&config.unwrap()).await.unwrap()
    }

    /// Where its packages are.
    pub(crate) fn site_packages(&self) -> PathBuf {
        let program = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let output = Command::new(self.python()).args(["-c", program]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().into()
    }

    /// Whether uv says that it would change nothing. If it fails, it would have.
    pub(crate) fn has_nothing_to_do(&self, requirements: &[Requirement]) -> bool {
        let mut command = self.command(&["pip", "install", "--offline", "--dry-run", "--python"]);
        let output = command
            .arg(self.python())
            .arg("--")
            .args(requirements.iter().map(ToString::to_string))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        output.status.success() && said.contains("Would make no changes")
    }

    fn python(&self) -> PathBuf {
        self.directory.path().join("base/bin/python")
    }

    /// uv, away from settings in directories and of an activated environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.uv);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("VIRTUAL_ENV")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, command: &mut Command) -> Result<(), String> {
        let output = command.output().map_err(|error| format!("`{}`: {error}", self.uv.display()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    fn add_what_no_index_has(&self) {
        let site = self.site_packages();
        let write = |path: &str, text: &str| {
            let path = site.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (entry, headers) in BY_HAND {
            let (name, version) = entry.split_once('-').unwrap();
            let headers = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{headers}");
            write(&format!("{entry}.dist-info/METADATA"), &format!("{}\n", headers.trim_end()));
            write(&format!("{entry}.dist-info/RECORD"), "");
        }
        let wheel =
            "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: false\nTag: cp39-cp39-linux_x86_64\n";
        write("foreign-1.0.dist-info/WHEEL", wheel);
        let source = r#"{"url": "file:///srv/source", "dir_info": {"editable": true}}"#;
        write("editable-1.0.dist-info/direct_url.json", source);
        let archive = r#"{"url": "https://localhost/from_url-1.0.tar.gz", "archive_info": {}}"#;
        write("from_url-1.0.dist-info/direct_url.json", archive);
        write("old-1.2-py3.11.egg-info/PKG-INFO", "Metadata-Version: 1.1\nName: old\nVersion: 1.2\n");
        for version in ["1.0", "1.1"] {
            let metadata = format!("Metadata-Version: 2.1\nName: twice\nVersion: {version}\n");
            write(&format!("twice-{version}.dist-info/METADATA"), &metadata);
        }
    }
}
