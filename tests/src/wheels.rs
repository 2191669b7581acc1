//! Packages made for a test, in a directory that pip and uv take for an index: no network, and every file known.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Python;

/// A directory of wheels and source archives.
#[derive(Debug)]
pub struct WheelHouse {
    directory: TempDir,
}

/// A package to be made.
#[derive(Debug, Clone)]
pub struct Package {
    name: String,
    version: String,
    requires: Vec<String>,
    extras: Vec<(String, Vec<String>)>,
    files: Vec<(String, String)>,
    entry_points: String,
}

/// Reads what is to be made and makes it: a wheel, or a source archive that builds itself without anything.
const MAKE: &str = r#"
import base64, hashlib, io, json, sys, tarfile, zipfile
spec = json.load(open("SPEC"))
name, version = spec["name"], spec["version"]
stem = f"{name.replace('-', '_')}-{version}"
metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
metadata += "".join(f"Requires-Dist: {one}\n" for one in spec["requires"])
for extra, requires in spec["extras"]:
    metadata += f"Provides-Extra: {extra}\n" + "".join(f'Requires-Dist: {one} ; extra == "{extra}"\n' for one in requires)
files = dict(spec["files"])
files[f"{stem}.dist-info/METADATA"] = metadata
files[f"{stem}.dist-info/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
if spec["entry_points"]:
    files[f"{stem}.dist-info/entry_points.txt"] = spec["entry_points"]
def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
record = f"{stem}.dist-info/RECORD"
files[record] = "".join(f"{path},sha256={digest(text)},{len(text.encode())}\n" for path, text in files.items()) + f"{record},,\n"
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, "w") as archive:
    for path, text in files.items():
        archive.writestr(path, text)
if not spec["backend"]:
    open(f"{spec['directory']}/{stem}-py3-none-any.whl", "wb").write(wheel.getvalue())
    sys.exit()
backend = spec["backend"] + f"""
import base64
def build_wheel(directory, settings=None, metadata=None):
    before_building()
    with open(f"{{directory}}/{stem}-py3-none-any.whl", "wb") as wheel:
        wheel.write(base64.b64decode({base64.b64encode(wheel.getvalue())!r}))
    return "{stem}-py3-none-any.whl"
"""
project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
project += f'[project]\nname = "{name}"\nversion = "{version}"\n'
sources = {"backend.py": backend, "pyproject.toml": project, "PKG-INFO": metadata}
with tarfile.open(f"{spec['directory']}/{stem}.tar.gz", "w:gz") as archive:
    for path, text in sources.items():
        info = tarfile.TarInfo(f"{stem}/{path}")
        info.size = len(text.encode())
        archive.addfile(info, io.BytesIO(text.encode()))
"#;

impl WheelHouse {
    /// An empty one.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("the temporary directory is writable") }
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What makes a worker install from here and from nowhere else: variables of pip's.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("PIP_FIND_LINKS", self.path().display().to_string()),
            ("PIP_NO_INDEX", "1".to_owned()),
            ("PIP_CONFIG_FILE", "/dev/null".to_owned()),
            ("UV_CACHE_DIR", self.path().join("uv-cache").display().to_string()),
        ]
    }

    /// Adds wheels.
    #[track_caller]
    pub fn add(&self, packages: impl IntoIterator<Item = Package>) -> &Self {
        packages.into_iter().for_each(|package| self.make(&package, ""));
        self
    }

    /// Adds a source archive. `backend` is Python code with a function `before_building`, which is called when it
    /// is built.
    #[track_caller]
    pub fn add_source(&self, package: &Package, backend: &str) -> &Self {
        self.make(package, backend);
        self
    }

    /// The wheel of a package.
    pub fn wheel(&self, name: &str, version: &str) -> PathBuf {
        self.path().join(format!("{}-{version}-py3-none-any.whl", name.replace('-', "_")))
    }

    #[track_caller]
    fn make(&self, package: &Package, backend: &str) {
        let mut spec = package.spec();
        spec["backend"] = json!(backend);
        spec["directory"] = json!(self.path());
        // By a file: command lines have an end.
        let path = self.path().join("spec.json");
        std::fs::write(&path, spec.to_string()).expect("the directory is writable");
        Python::under_test().run(&MAKE.replace("SPEC", &path.display().to_string()));
    }
}

impl Default for WheelHouse {
    fn default() -> Self {
        Self::new()
    }
}

impl Package {
    /// A package with a module of its name whose `VERSION` is its version.
    pub fn new(name: &str, version: &str) -> Self {
        let module = format!("{}.py", name.replace('-', "_"));
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            requires: Vec::new(),
            extras: Vec::new(),
            files: vec![(module, format!("VERSION = '{version}'\n"))],
            entry_points: String::new(),
        }
    }

    /// Adds requirements.
    #[must_use]
    pub fn requires(mut self, requirements: &[&str]) -> Self {
        self.requires.extend(requirements.iter().map(|one| (*one).to_owned()));
        self
    }

    /// Adds an extra.
    #[must_use]
    pub fn extra(mut self, name: &str, requirements: &[&str]) -> Self {
        self.extras.push((name.to_owned(), requirements.iter().map(|one| (*one).to_owned()).collect()));
        self
    }

    /// Adds a file, below site-packages.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Adds a console script.
    #[must_use]
    pub fn script(mut self, name: &str, entry: &str) -> Self {
        self.entry_points = format!("[console_scripts]\n{name} = {entry}\n");
        self
    }

    fn spec(&self) -> Value {
        json!({
            "name": self.name, "version": self.version, "requires": self.requires, "extras": self.extras,
            "files": self.files, "entry_points": self.entry_points,
        })
    }
}

/// The variables that make pip and uv reach their index from here, which a test that wants real packages passes on.
pub fn index_variables() -> Vec<(&'static str, String)> {
    const NAMES: [&str; 13] = [
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_CERT",
        "PIP_CONFIG_FILE",
        "PIP_TRUSTED_HOST",
        "UV_DEFAULT_INDEX",
        "UV_INDEX_URL",
        "UV_CACHE_DIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
    ];
    NAMES.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))).collect()
}
