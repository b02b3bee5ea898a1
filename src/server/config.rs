//! Configuration: the command line over the environment over the file over the defaults, read once.

use super::{base_path::BasePath, connections::Tls, guard::host_name};
use headwater_engine::{
    clock::{MAX_SECONDS, seconds},
    config::{Delivery, ProviderConfig, Script, from_environment},
    journal,
    runs::{
        Deadlines,
        recovery::{OnBreak, Recovery},
    },
    tool::program::ToolConfig,
};
use headwater_protocol::{Error, ErrorCode};
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// The flags of the command line. Every flag is an environment variable too.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:3000]
    #[arg(long, global = true, env = "HEADWATER_ADDR", value_name = "ADDR")]
    pub addr: Option<SocketAddr>,
    /// Data folder, with the database [default: ~/.local/share/headwater]
    #[arg(long, global = true, env = "HEADWATER_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file (TOML)
    #[arg(long, global = true, env = "HEADWATER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// GGUF file of the built-in model, or "none" to switch it off [default: the file that the setup downloaded]
    #[arg(long, global = true, env = "HEADWATER_MODEL", value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Model to use when none is chosen, as provider/model [default: the first one of the first provider]
    #[arg(
        long,
        global = true,
        env = "HEADWATER_DEFAULT_MODEL",
        value_name = "NAME"
    )]
    pub default_model: Option<String>,
    /// Base URL of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1
    #[arg(
        long,
        global = true,
        env = "HEADWATER_PROVIDER_URL",
        value_name = "URL"
    )]
    pub provider_url: Option<String>,
    /// Serve scripted answers, for tests and demonstrations: a file of scenarios, or "builtin"
    #[arg(long, global = true, env = "HEADWATER_SCRIPT", value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Accept requests for this host name, besides localhost; can be repeated
    #[arg(
        long = "allow-host",
        global = true,
        env = "HEADWATER_ALLOW_HOSTS",
        value_name = "HOST",
        value_delimiter = ','
    )]
    pub allow_hosts: Vec<String>,
    /// Path under which the server is reached, such as /chat [default: none]
    #[arg(long, global = true, env = "HEADWATER_BASE_PATH", value_name = "PATH")]
    pub base_path: Option<String>,
    /// Take the path from the header X-Forwarded-Prefix of a proxy that sets it
    #[arg(long, global = true, env = "HEADWATER_TRUST_FORWARDED_PREFIX")]
    pub trust_forwarded_prefix: bool,
    /// TLS certificate (PEM), with those between it and a root
    #[arg(
        long,
        global = true,
        env = "HEADWATER_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Key of the TLS certificate (PEM)
    #[arg(long, global = true, env = "HEADWATER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// TLS with a certificate that nobody has signed, for a try
    #[arg(long, global = true, env = "HEADWATER_TLS_SELF_SIGNED")]
    pub tls_self_signed: bool,
    /// Seconds that running answers get to finish after SIGTERM [default: 10]
    #[arg(long, global = true, env = "HEADWATER_GRACE", value_name = "SECONDS")]
    pub grace: Option<f64>,
    /// Longest wait for the first token of an answer, in seconds [default: 120]
    #[arg(
        long,
        global = true,
        env = "HEADWATER_FIRST_TOKEN",
        value_name = "SECONDS"
    )]
    pub first_token: Option<f64>,
    /// Longest pause between two tokens, in seconds [default: 60]
    #[arg(
        long,
        global = true,
        env = "HEADWATER_BETWEEN_TOKENS",
        value_name = "SECONDS"
    )]
    pub between_tokens: Option<f64>,
    /// Most attempts with one model until text arrives [default: 3]
    #[arg(long, global = true, env = "HEADWATER_ATTEMPTS", value_name = "NUMBER")]
    pub attempts: Option<u32>,
    /// Models to try when the chosen one cannot answer, as provider/model, separated by commas
    #[arg(
        long,
        global = true,
        env = "HEADWATER_FALLBACK",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub fallback: Vec<String>,
    /// What to do when an answer breaks off: "continue", "restart" or "stop" [default: continue]
    #[arg(long, global = true, env = "HEADWATER_ON_BREAK", value_name = "WORD")]
    pub on_break: Option<String>,
    /// Seconds between two pings of an event stream [default: 5]
    #[arg(long, global = true, env = "HEADWATER_PING", value_name = "SECONDS")]
    pub ping: Option<f64>,
    /// Seconds after which an event stream is closed and resumed [default: 1800]
    #[arg(
        long,
        global = true,
        env = "HEADWATER_STREAM_LIFETIME",
        value_name = "SECONDS"
    )]
    pub stream_lifetime: Option<f64>,
    /// Bytes to whose multiples every frame of a stream is lengthened, against guesses from lengths [default: 0]
    #[arg(long, global = true, env = "HEADWATER_PADDING", value_name = "BYTES")]
    pub padding: Option<usize>,
    /// Shortest pause between two deliveries to a reader, in seconds [default: 0]
    #[arg(long, global = true, env = "HEADWATER_BATCH", value_name = "SECONDS")]
    pub batch: Option<f64>,
    /// Format of the log on standard error [default: text]
    #[arg(
        long,
        global = true,
        env = "HEADWATER_LOG_FORMAT",
        value_name = "FORMAT"
    )]
    pub log_format: Option<LogFormat>,
    /// Largest size of database and journal in megabytes; 0 means no limit [default: 0]
    #[arg(long, global = true, env = "HEADWATER_DATA_LIMIT", value_name = "MB")]
    pub data_limit: Option<u64>,
    /// What shown tokens survive; "power" waits for the disk at each [default: process]
    #[arg(long, global = true, env = "HEADWATER_DURABILITY", value_name = "WHAT")]
    pub durability: Option<Durability>,
}

/// What tokens survive once they were shown. Commands and ends of answers survive a power cut always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of the process.
    #[default]
    Process,
    /// A power cut as well.
    Power,
}

/// How the program logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines of text, in colours if standard error is a terminal.
    #[default]
    Text,
    /// One JSON object per line, for programs that collect logs.
    Json,
}

/// The configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    addr: Option<SocketAddr>,
    data: Option<PathBuf>,
    model: Option<PathBuf>,
    default_model: Option<String>,
    script: Option<PathBuf>,
    allow_hosts: Vec<String>,
    base_path: Option<String>,
    trust_forwarded_prefix: bool,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_self_signed: bool,
    grace: Option<f64>,
    first_token: Option<f64>,
    between_tokens: Option<f64>,
    total: Option<f64>,
    connect: Option<f64>,
    ping: Option<f64>,
    stream_lifetime: Option<f64>,
    padding: Option<usize>,
    batch: Option<f64>,
    data_limit: Option<u64>,
    durability: Option<Durability>,
    log_format: Option<LogFormat>,
    system: Option<String>,
    context: Option<u32>,
    parallel: Option<usize>,
    fallback: Vec<String>,
    retry: Retry,
    provider: Vec<ProviderConfig>,
    tool: Vec<ToolConfig>,
}

/// The section `[retry]` of the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Retry {
    attempts: Option<u32>,
    pause: Option<f64>,
    longest: Option<f64>,
    on_break: Option<OnBreak>,
    #[serde(alias = "mends")]
    max_recoveries: Option<u32>,
    hedge: Option<bool>,
}

/// The configuration, ready to use.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on. Port 0 picks a free port.
    pub addr: SocketAddr,
    /// Further host names under which the server answers, in lower case and without ports. Loopback
    /// names are always allowed.
    pub allow_hosts: Vec<String>,
    /// The path under which the server is reached.
    pub base_path: BasePath,
    /// The certificate, if connections are encrypted.
    pub tls: Option<Tls>,
    /// How long running answers may go on after SIGTERM.
    pub grace: Duration,
    /// How the log on standard error is written.
    pub log_format: LogFormat,
    /// The configuration of the engine.
    pub engine: headwater_engine::Config,
}

impl Config {
    /// Reads the configuration file, if there is one, and merges all sources.
    ///
    /// # Errors
    /// `invalid_request`, with a sentence that names the setting.
    pub fn load(flags: &Flags) -> Result<Self, Error> {
        let file = match &flags.config {
            Some(path) => read_toml(path)?,
            None => File::default(),
        };
        let time = |name: &str, flag: Option<f64>, file: Option<f64>, default: Duration| match flag
            .or(file)
        {
            None => Ok(default),
            Some(value) => seconds(value).ok_or_else(|| {
                wrong(format!(
                    "“{name}” must be a number of seconds, at most {MAX_SECONDS}, not {value}."
                ))
            }),
        };
        let mut providers = file.provider;
        providers.extend(from_environment(flags.provider_url.as_deref(), |name| {
            std::env::var(name).ok()
        }));
        let data = flags.data.clone().or(file.data);
        let usual = headwater_engine::Config::new(data.unwrap_or_else(default_data));
        let retry = file.retry;
        let on_break = flags.on_break.as_deref().map(on_break).transpose()?;
        let engine = headwater_engine::Config {
            data_limit_mb: flags
                .data_limit
                .or(file.data_limit)
                .unwrap_or(usual.data_limit_mb),
            durability: match flags.durability.or(file.durability).unwrap_or_default() {
                Durability::Process => journal::Durability::Process,
                Durability::Power => journal::Durability::Power,
            },
            model: flags
                .model
                .clone()
                .or(file.model)
                .or_else(|| Some(default_model_file()))
                .filter(|path| path != Path::new("none")),
            context: file.context.unwrap_or(usual.context),
            parallel: file.parallel.unwrap_or(usual.parallel),
            default_model: flags.default_model.clone().or(file.default_model),
            script: flags
                .script
                .clone()
                .or(file.script)
                .map(|path| read_script(&path))
                .transpose()?,
            providers,
            tools: file.tool,
            system: file.system,
            connect: time("connect", None, file.connect, usual.connect)?,
            deadlines: Deadlines {
                first_token: time(
                    "first_token",
                    flags.first_token,
                    file.first_token,
                    usual.deadlines.first_token,
                )?,
                between_tokens: time(
                    "between_tokens",
                    flags.between_tokens,
                    file.between_tokens,
                    usual.deadlines.between_tokens,
                )?,
                total: time("total", None, file.total, usual.deadlines.total)?,
            },
            fallback: match flags.fallback.is_empty() {
                true => file.fallback,
                false => flags.fallback.clone(),
            },
            recovery: Recovery {
                attempts: flags
                    .attempts
                    .or(retry.attempts)
                    .unwrap_or(usual.recovery.attempts)
                    .max(1),
                pause: time("pause", None, retry.pause, usual.recovery.pause)?,
                longest: time("longest", None, retry.longest, usual.recovery.longest)?,
                on_break: on_break.or(retry.on_break).unwrap_or_default(),
                max_recoveries: retry
                    .max_recoveries
                    .unwrap_or(usual.recovery.max_recoveries),
                hedge: retry.hedge.unwrap_or(usual.recovery.hedge),
            },
            delivery: Delivery {
                ping: time("ping", flags.ping, file.ping, usual.delivery.ping)?
                    .max(Duration::from_millis(50)),
                lifetime: time(
                    "stream_lifetime",
                    flags.stream_lifetime,
                    file.stream_lifetime,
                    usual.delivery.lifetime,
                )?
                .max(Duration::from_millis(200)),
                padding: match flags.padding.or(file.padding).unwrap_or_default() {
                    bytes if bytes <= MAX_PADDING => bytes,
                    bytes => {
                        return Err(wrong(format!(
                            "“padding” must be at most {MAX_PADDING} bytes, not {bytes}."
                        )));
                    }
                },
                batch: time("batch", flags.batch, file.batch, Duration::ZERO)?
                    .min(Duration::from_secs(2)),
            },
            ..usual
        };
        let addr = flags
            .addr
            .or(file.addr)
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 3000)));
        let allow_hosts: Vec<_> = [flags.allow_hosts.clone(), file.allow_hosts]
            .concat()
            .iter()
            .filter_map(|name| host_name(name).transpose())
            .collect::<Result<_, _>>()?;
        let tls = match (
            flags.tls_cert.clone().or(file.tls_cert),
            flags.tls_key.clone().or(file.tls_key),
        ) {
            (Some(certificate), Some(key)) => Some(Tls::Files { certificate, key }),
            (None, None) if flags.tls_self_signed || file.tls_self_signed => {
                Some(Tls::SelfSigned {
                    folder: engine.data.join("tls"),
                    names: own_names(&allow_hosts, addr.ip()),
                })
            }
            (None, None) => None,
            _ => {
                return Err(wrong(
                    "A TLS certificate needs its key, and a key its certificate: set both “tls_cert” and “tls_key”."
                        .into(),
                ));
            }
        };
        Ok(Self {
            addr,
            allow_hosts,
            tls,
            base_path: BasePath::new(
                &flags
                    .base_path
                    .clone()
                    .or(file.base_path)
                    .unwrap_or_default(),
                flags.trust_forwarded_prefix || file.trust_forwarded_prefix,
            )?,
            grace: time("grace", flags.grace, file.grace, Duration::from_secs(10))?,
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
            engine,
        })
    }
}

/// The names that a certificate of one's own is for.
fn own_names(allow_hosts: &[String], bound: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend_from_slice(allow_hosts);
    names.extend((!bound.is_unspecified() && !bound.is_loopback()).then(|| bound.to_string()));
    names
}

/// The most padding, in bytes: more would hide nothing further.
const MAX_PADDING: usize = 4_096;

fn on_break(word: &str) -> Result<OnBreak, Error> {
    match word {
        "continue" => Ok(OnBreak::Continue),
        "restart" => Ok(OnBreak::Restart),
        "stop" => Ok(OnBreak::Stop),
        other => Err(wrong(format!(
            "“on_break” must be “continue”, “restart” or “stop”, not “{other}”."
        ))),
    }
}

fn read_toml(path: &Path) -> Result<File, Error> {
    let text = read_text(path, "configuration file")?;
    toml::from_str(&text).map_err(|why| {
        wrong(format!(
            "The configuration file {} cannot be read: {why}",
            path.display()
        ))
    })
}

fn read_script(path: &Path) -> Result<Script, Error> {
    match path.to_str() {
        Some("builtin") => Ok(Script::Builtin),
        _ => read_text(path, "script").map(Script::Text),
    }
}

fn read_text(path: &Path, what: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|why| {
        wrong(format!(
            "The {what} {} cannot be read: {why}.",
            path.display()
        ))
    })
}

fn wrong(message: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, message).at("reading the configuration")
}

/// `$XDG_DATA_HOME/headwater`, by default `~/.local/share/headwater`.
fn default_data() -> PathBuf {
    base("XDG_DATA_HOME", ".local/share").join("headwater")
}

/// The file to which `scripts/setup.sh` downloads the default model.
pub fn default_model_file() -> PathBuf {
    base("XDG_CACHE_HOME", ".cache")
        .join("headwater/models")
        .join("SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// A folder of the [XDG base directory specification](https://specifications.freedesktop.org/basedir/latest/).
fn base(variable: &str, below_home: &str) -> PathBuf {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(below_home)))
        .unwrap_or_else(|| PathBuf::from("."))
}
