//! What to ask for when an import fails: the entry of `dependencies` that would have provided the module.

use pyo3::exceptions::PyModuleNotFoundError;
use pyo3::prelude::*;

/// Modules whose distribution has another name, sorted. Where several provide one, that which works without a
/// display and without a licence.
const DISTRIBUTIONS: [(&str, &str); 56] = [
    ("Bio", "biopython"),
    ("Crypto", "pycryptodome"),
    ("Cryptodome", "pycryptodomex"),
    ("IPython", "ipython"),
    ("MySQLdb", "mysqlclient"),
    ("OpenGL", "PyOpenGL"),
    ("OpenSSL", "pyOpenSSL"),
    ("PIL", "pillow"),
    ("Xlib", "python-xlib"),
    ("absl", "absl-py"),
    ("antlr4", "antlr4-python3-runtime"),
    ("attr", "attrs"),
    ("bs4", "beautifulsoup4"),
    ("bson", "pymongo"),
    ("cairo", "pycairo"),
    ("clip", "openai-clip"),
    ("cv2", "opencv-python-headless"),
    ("dateutil", "python-dateutil"),
    ("discord", "discord.py"),
    ("docx", "python-docx"),
    ("dotenv", "python-dotenv"),
    ("faiss", "faiss-cpu"),
    ("fitz", "pymupdf"),
    ("flash_attn", "flash-attn"),
    ("gi", "PyGObject"),
    ("git", "GitPython"),
    ("github", "PyGithub"),
    ("googleapiclient", "google-api-python-client"),
    ("grpc", "grpcio"),
    ("grpc_tools", "grpcio-tools"),
    ("haystack", "haystack-ai"),
    ("jose", "python-jose"),
    ("jwt", "PyJWT"),
    ("kafka", "kafka-python"),
    ("ldap", "python-ldap"),
    ("llama_cpp", "llama-cpp-python"),
    ("magic", "python-magic"),
    ("mpl_toolkits", "matplotlib"),
    ("multipart", "python-multipart"),
    ("nacl", "PyNaCl"),
    ("osgeo", "GDAL"),
    ("pkg_resources", "setuptools<81"),
    ("pptx", "python-pptx"),
    ("psycopg2", "psycopg2-binary"),
    ("pylab", "matplotlib"),
    ("rest_framework", "djangorestframework"),
    ("ruamel", "ruamel.yaml"),
    ("serial", "pyserial"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("slugify", "python-slugify"),
    ("socks", "PySocks"),
    ("telegram", "python-telegram-bot"),
    ("usb", "pyusb"),
    ("yaml", "PyYAML"),
    ("zmq", "pyzmq"),
];

/// A line that names the entry, if `error` is an import of something that a package could provide.
pub(super) fn hint(py: Python<'_>, error: &PyErr) -> Option<String> {
    if !error.is_instance_of::<PyModuleNotFoundError>(py) {
        return None;
    }
    let name: String = error.value(py).getattr("name").ok()?.extract().ok()?;
    let module = name.split('.').next().filter(|module| !module.is_empty())?;
    let is_own = |found: PyResult<Bound<'_, PyAny>>| found.is_ok_and(|found| !found.is_none());
    let standard = py.import("sys").and_then(|sys| sys.getattr("stdlib_module_names"));
    if standard.is_ok_and(|names| names.contains(module).unwrap_or(false))
        || is_own(py.import("importlib.util").and_then(|util| util.call_method1("find_spec", (module,))))
    {
        return None; // no package would bring it, or it is there without what was looked for in it
    }
    let distribution = distribution_of(module);
    let installed = distribution.split('<').next().unwrap_or_default();
    if is_own(
        py.import("importlib.metadata").and_then(|metadata| metadata.call_method1("version", (installed,))),
    ) {
        return None; // it was asked for, and has no such module
    }
    Some(format!("hint: `{module}` is not installed; dependencies=[\"{distribution}\"] installs it"))
}

/// The distribution that a module comes from, as far as its name tells.
fn distribution_of(module: &str) -> String {
    let known = DISTRIBUTIONS.iter().find(|(name, _)| *name == module);
    known.map_or_else(|| module.replace('_', "-"), |(_, distribution)| (*distribution).to_owned())
}
